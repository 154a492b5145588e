"""Flags of cosmos-curate's `split` command that are not supported: each is refused with what to do instead.

The few that ask for what happens anyway (``--no-generate-embeddings``, ``--vlm-filter disable``) are accepted.
"""

from __future__ import annotations

import dataclasses

_NOT_YET = "is not supported yet; leave it out"
_CREDENTIALS = "is --input-s3-profile-name here"
_SERVICE = "has no meaning here: it belongs to the HTTP service of cosmos-curate; leave it out"
_SHARES = "has no meaning here: Apache Beam's runner assigns cores and workers; leave it out"
_GPU = "has no meaning here: one model at a time has the whole GPU; leave it out"
_MODE = "has no meaning here: the runner chosen by --runner schedules the work; leave it out"
_BATCH = "has no meaning here: clips are cut individually, in parallel; leave it out"
_SCORING = "has no meaning here: motion is scored clip by clip, on a processor; leave it out"
_ENDPOINT_MODEL = "is --captioning-endpoint-model here"
_BEAM_PROFILER = "is not supported yet; leave it out (Apache Beam's own profiler is --{0})"


@dataclasses.dataclass(frozen=True)
class Unsupported:
    """A flag that is not supported.

    Attributes:
        reason: What follows the flag's name in the message; empty for a switch that changes nothing.
        is_switch: Whether it takes no value.
        accepted: Values that change nothing and are accepted.
    """

    reason: str
    is_switch: bool = False
    accepted: tuple[str, ...] = ()

    def refusal(self, name: str, value: str) -> str | None:
        """Returns the message for this flag with this value, or None where it is accepted.

        >>> entry = Unsupported("is not supported yet; leave it out", accepted=("disable",))
        >>> entry.refusal("vlm_filter", "enable")
        '--vlm-filter is not supported yet; leave it out'
        >>> entry.refusal("vlm_filter", "disable") is None
        True
        """
        if not self.reason or (not self.is_switch and value in self.accepted):
            return None
        return f"--{name.replace('_', '-')} {self.reason}"


def opposite(name: str) -> str:
    """Returns the name of the switch that undoes a switch: ``no_x`` for ``x`` and the reverse.

    >>> opposite("verbose"), opposite("no_verbose")
    ('no_verbose', 'verbose')
    """
    return name.removeprefix("no_") if name.startswith("no_") else f"no_{name}"


_VALUES: dict[str, str] = {
    _CREDENTIALS: "input_video_list_s3_profile_name",
    _SERVICE: "input_presigned_s3_url output_presigned_s3_url",
    _SHARES: """transnetv2_frame_decode_cpus_per_worker transcode_cpus_per_worker
        num_download_workers_per_node
        num_clip_writer_workers_per_node motion_decode_cpus_per_worker clip_extraction_cpus_per_worker
        vllm_prepare_num_cpus_per_worker""",
    _GPU: """transnetv2_gpus_per_worker motion_score_gpus_per_worker aesthetic_gpus_per_worker
        artificial_text_gpus_per_worker embedding_gpus_per_worker qwen_num_gpus_per_worker""",
    _MODE: "execution_mode",
    _ENDPOINT_MODEL: "openai_model_name",
    _BATCH: "transcode_ffmpeg_batch_size",
    _SCORING: "motion_score_batch_size",
    _NOT_YET: """
        primary_camera_keyword embedding_algorithm
        sr_variant sr_target_height sr_target_width sr_window_frames sr_overlap_frames sr_seed sr_cfg_scale
        sr_cfg_rescale sr_sample_steps sr_sp_size sr_out_fps sr_tmp_dir
        clip_extraction_target_res
        artificial_text_frame_interval artificial_text_corner_x_margin artificial_text_corner_y_margin
        artificial_text_min_duration_frames artificial_text_corner_ratio
        artificial_text_stability_iou_threshold
        embedding_batch_size openai_embedding_model_name openai_embedding_retries
        openai_embedding_retry_delay_seconds openai_embedding_max_concurrent_requests
        gemini_model_name gemini_caption_retries gemini_retry_delay_seconds gemini_max_inline_mb
        qwen_preprocess_dtype qwen_batch_size
        vllm_performance_mode vllm_max_retries copy_weights_to
        enhance_captions_lm_variant enhance_captions_openai_model enhance_captions_prompt_variant
        enhance_captions_prompt_text enhance_captions_max_output_tokens enhance_captions_batch_size
        preview_target_fps preview_target_height
        sam3_prompts sam3_target_fps sam3_max_clip_duration_s sam3_session_reset_s
        sam3_score_threshold_detection
        sam3_det_nms_thresh sam3_new_det_thresh sam3_fill_hole_area sam3_recondition_every_nth_frame
        sam3_recondition_on_trk_masks sam3_high_conf_thresh sam3_high_iou_thresh
        event_caption_prompt event_caption_prompt_file event_caption_backend event_caption_qwen_variant
        event_caption_qwen_sampling_fps event_caption_qwen_temperature event_caption_qwen_top_p
        event_caption_qwen_top_k event_caption_gemini_model_name event_caption_gemini_fps
        event_caption_gemini_media_resolution event_caption_gemini_thinking_budget
        event_caption_gemini_max_output_tokens
        profile_tracing_sampling profile_tracing_otlp_endpoint profile_cpu_exclude
        profile_memory_exclude profile_gpu_exclude
        stage_save stage_save_sample_rate stage_replay stage_compare stage_compare_path stage_compare_atol
        stage_compare_pass_threshold""",
}

# Some are listed twice: by the flag, and by the key that a config file of cosmos-curate has for it.
_SWITCHES = """
    multi_cam generate_embeddings generate_previews no_upload_clips upload_clip_info_in_chunks
    upload_clip_info_in_lance upload_cvds_parquet upload_cds_parquet
    transnetv2_frame_decode_raise_on_pynvc_error transcode_use_hwaccel super_resolution sr_no_blend_overlap
    no_artificial_text_corner_detection no_artificial_text_use_corner_detection
    ignore_artificial_text_corner_region artificial_text_ignore_corner_region
    artificial_text_detection_use_cpu
    qwen_model_does_preprocess nemotron_stage2_caption qwen_use_vllm_mmcache
    qwen_use_async_engine debug_save_vllm_frames enhance_captions qwen_lm_use_fp8_weights
    enable_sam3 sam3_write_annotated_video sam3_annotated_video_trails enable_event_captioning
    event_caption_qwen_fp8 perf_profile profile_tracing profile_gpu"""

# Both forms configure an engine that does not exist here.
_SWITCHES_BOTH_WAYS = """
    vllm_use_inflight_batching vllm_async_enforce_eager vllm_async_trust_remote_code
    vllm_async_disable_log_stats
    vllm_async_async_scheduling vllm_async_enable_chunked_prefill vllm_async_disable_chunked_mm_input
    vllm_async_skip_mm_profiling"""

_ENDPOINT_VALUES = """
    rejection_threshold batch_size model_variant max_output_tokens num_gpus endpoint openai_model_name
    openai_retries openai_retry_delay_seconds gemini_model_name gemini_retries gemini_retry_delay_seconds"""

# Families: the beginnings of the names, the flags with a value, the switches.
_FAMILIES = (
    (("vlm_filter", "qwen_filter"), f"prompt_variant categories {_ENDPOINT_VALUES}", "fp8_enable"),
    (
        ("video_classifier", "qwen_video_classifier"),
        f"allow block allow_file block_file {_ENDPOINT_VALUES}",
        "use_custom_categories fp8_enable",
    ),
    (
        ("vllm_async",),
        """model_name stage_batch_size max_concurrent_requests num_workers_per_node stage2_prompt_text
        num_gpus
        data_parallel_size gpu_memory_utilization max_model_len dtype quantization max_num_batched_tokens
        max_num_seqs cudagraph_mode limit_mm_per_prompt mm_encoder_tp_mode kv_cache_dtype
        mm_processor_cache_gb
        mm_processor_cache_type long_prefill_token_threshold stream_interval distributed_executor_backend
        mm_processor_kwargs extra_env_vars""",
        "stage2_caption",
    ),
)

_ACCEPTED_VALUES = {
    "artificial_text_filter": "disable",
    "vlm_filter": "disable",
    "qwen_filter": "disable",
    "video_classifier": "disable",
    "qwen_video_classifier": "disable",
    "transnetv2_frame_decoder_mode": "ffmpeg_cpu",
}


def _switch(table: dict[str, Unsupported], name: str, reason: str) -> None:
    """Adds a switch as refused and its opposite, which changes nothing, as accepted."""
    table[name] = Unsupported(reason, is_switch=True)
    table[opposite(name)] = Unsupported("", is_switch=True)


def _build_table() -> dict[str, Unsupported]:
    table: dict[str, Unsupported] = {}
    for reason, names in _VALUES.items():
        table.update({name: Unsupported(reason) for name in names.split()})
    for name, value in _ACCEPTED_VALUES.items():
        reason = f"is not supported yet, except as --{name.replace('_', '-')} {value}; leave it out"
        table[name] = Unsupported(reason, accepted=(value,))
    for prefixes, values, switches in _FAMILIES:
        for prefix in prefixes:
            table.update({f"{prefix}_{suffix}": Unsupported(_NOT_YET) for suffix in values.split()})
            for suffix in switches.split():
                _switch(table, f"{prefix}_{suffix}", _NOT_YET)
    for name in _SWITCHES.split():
        _switch(table, name, _NOT_YET)
    for name in ("profile_cpu", "profile_memory"):
        _switch(table, name, _BEAM_PROFILER.format(name))
    for name in _SWITCHES_BOTH_WAYS.split():
        table[name] = table[opposite(name)] = Unsupported(_NOT_YET, is_switch=True)
    return table


UNSUPPORTED: dict[str, Unsupported] = _build_table()
"""The flags by their names with underscores and without leading dashes."""
