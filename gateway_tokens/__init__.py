"""Keeps the access tokens of Azure API Management self-hosted gateways fresh.

Start reading at `function_app.py`. Imports point one way, from the bottom of this list to its top:

    pure        errors, model, timestamps, patterns, documents, policy, access, callers, sign_in, requests, forms,
                settings, settings_faults, destination_settings, app_settings, ledger, timing, decisions, checks,
                planning, report, sweep_record, health, events, log_lines, sweep_lines
    ports       what the use cases need from the world
    use cases   issuing, units, delivery, renewing, discovery, sweeping, reacting
    shell       http_api, http_renewals, http_answers, http_reports, background, arm, azure_access, azure_errors,
                signing_keys, patience, sweep_store, destinations
    wiring      puts all of it together, and alone reads the environment
"""
