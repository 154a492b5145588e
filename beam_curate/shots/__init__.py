"""From a video to the spans that become clips: TransNetV2's shots, or a fixed stride."""
