"""What runs a vision-language model: transformers in the worker, a vLLM server, or an endpoint."""
