metadata name = 'Alerts'
metadata description = 'What somebody should be woken for. The queries use the documented fields of the app\'s log lines.'

import { tagsType } from '../types.bicep'

@description('Required. The resource id of the action group that is told.')
param actionGroupId string

@description('Required. The resource id of the workspace.')
param workspaceId string

@description('Required. The resource id of the Application Insights component, for a workspace that many share.')
param componentId string

@description('Required. How long without a completed sweep is too long: three intervals of the schedule.')
param sweepSilence
  | 'PT15M'
  | 'PT30M'
  | 'PT45M'
  | 'PT1H'
  | 'PT2H'
  | 'PT3H'
  | 'PT4H'
  | 'PT5H'
  | 'PT6H'
  | 'P1D'
  | 'P2D'

@description('Required. How many refused calls in fifteen minutes are a burst.')
@minValue(1)
param refusedCalls int

@description('Required. How the rules\' names begin.')
param namePrefix string

@description('Required. The region.')
param location string

@description('Required. Tags of every resource.')
param tags tagsType

var lines = 'AppTraces | where _ResourceId =~ "${componentId}" | extend line = parse_json(Message) | extend event = tostring(line.event)'

var rules = [
  {
    name: 'renewal-failed'
    description: 'A token was due and was not delivered, or was delivered and its gateway does not run it.'
    severity: 2
    window: 'PT1H'
    frequency: 'PT15M'
    threshold: 0
    query: '${lines} | where event == "sweep.row" and tostring(line.outcome) in ("failed", "not_restarted", "not_picked_up") | project TimeGenerated, service = tostring(line.service), gateway = tostring(line.gateway), destination = tostring(line.destination), reason = tostring(line.reason), error = tostring(line.error)'
  }
  {
    name: 'sweep-missing'
    description: 'No sweep was completed for three intervals: nothing is being renewed.'
    severity: 1
    window: sweepSilence
    frequency: 'PT15M'
    threshold: 0
    query: '${lines} | where event == "sweep.completed" and tobool(line.complete) | summarize completed = count() | where completed == 0'
  }
  {
    name: 'token-at-risk'
    description: 'A token is close to its end and not renewed, or a gateway still runs on an old one.'
    severity: 1
    window: 'PT1H'
    frequency: 'PT15M'
    threshold: 0
    query: '${lines} | where (event == "sweep.completed" and toint(line.atRisk) > 0) or event == "gateway.not_picked_up"'
  }
  {
    name: 'calls-refused'
    description: 'Many calls were refused in a short time: a caller is misconfigured, or somebody is trying.'
    severity: 3
    window: 'PT15M'
    frequency: 'PT5M'
    threshold: refusedCalls - 1
    query: '${lines} | where event == "request.failed" and tostring(line.code) in ("sign_in_required", "access_denied")'
  }
]

resource alerts 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for rule in rules: {
    name: '${namePrefix}-${rule.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: '${namePrefix}: ${rule.name}'
      description: rule.description
      enabled: true
      severity: rule.severity
      scopes: [workspaceId]
      windowSize: rule.window
      evaluationFrequency: rule.frequency
      autoMitigate: true
      // A new workspace has no such table yet, and would refuse the query.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: rule.threshold
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: { actionGroups: [actionGroupId] }
    }
  }
]
