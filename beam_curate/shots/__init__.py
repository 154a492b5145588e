"""Divides a video into the spans that become clips: shots found by TransNetV2, or a fixed stride."""
