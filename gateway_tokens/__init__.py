"""Keeps the access tokens of Azure API Management self-hosted gateways fresh.

Start reading at `function_app.py`. Rooms, from judgement to shell; imports point to the left only:

    pure (errors, model, patterns, policy, planning, access, callers, requests, forms, settings, events,
    ledger, health)  <-  ports  <-  use cases (issuing, renewing)  <-  shell (http_api, arm,
    destinations, sweep_store)  <-  wiring  <-  function_app
"""
