"""Engines that run a vision-language model: transformers in the worker, a vLLM server, or an endpoint."""
