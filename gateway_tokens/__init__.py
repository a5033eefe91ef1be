"""Keeps the access tokens of Azure API Management self-hosted gateways fresh. Start reading at `function_app.py`."""
