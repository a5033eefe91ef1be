metadata name = 'Alerts'
metadata description = 'The alerts. The queries use the documented fields of the app\'s log lines.'

import { tagsType } from '../types.bicep'

@description('Optional. A mail address: a new action group writes to it. Default: none is made.')
param email string?

@description('Optional. The resource id of an action group that exists already.')
param actionGroupId string?

@description('Required. The resource id of the workspace.')
param workspaceId string

@description('Required. The resource id of the Application Insights component, for a workspace that many share.')
param componentId string

@description('Required. The resource id of the function app.')
param functionAppId string

@description('Required. The ids of the subscriptions that the estate is in.')
param subscriptions string[]

@description('Required. How many hours without a completed run are too many. A rule sees two days at most.')
@minValue(1)
@maxValue(48)
param noRunAfterHours int

@description('Required. How many refused calls in fifteen minutes are a burst.')
@minValue(1)
param refusedCalls int

@description('Required. Where the runbook is.')
param runbook string

@description('Required. How the rules\' names begin.')
param namePrefix string

@description('Required. The region.')
param location string

@description('Required. Tags of every resource.')
param tags tagsType

// What the app calls its log lines and its function that reconciles a subscription: here, and nowhere else in these files.
var row = 'run.row'
var runOfSubscription = 'run.completed'
var notPickedUp = 'not_picked_up'
var poisoned = 'message.poisoned'
var checkStopped = 'alive.stopped'
var refused = 'request.failed'
var outcomesOfFailure = '"failed", "not_reached"'
var codesOfRefusal = '"sign_in_required", "access_denied"'
var runner = 'reconcile_subscription'

var lines = 'AppTraces | where _ResourceId =~ "${componentId}" | extend line = parse_json(Message) | extend event = tostring(line.event)'
var listed = join(map(subscriptions, id => '"${toLower(id)}"'), ', ')
// A rule looks back over one of these windows. The queries narrow them to the hours that are asked for.
var windowOfRuns = noRunAfterHours <= 6 ? 'PT${noRunAfterHours}H' : noRunAfterHours <= 24 ? 'P1D' : 'P2D'

// The last line of each row decides, so that a row is in one rule at a time, and in none once it is well. Hours that
// nobody knows count as 9999.
var failingRows = $'''
${lines}
| where event == "${row}" and TimeGenerated > ago(${noRunAfterHours}h)
| extend service = tostring(line.service), gateway = tostring(line.gateway), destination = tostring(line.destination)
| summarize arg_max(TimeGenerated, line) by service, gateway, destination
| extend outcome = tostring(line.outcome), atRisk = tobool(line.atRisk), hoursLeft = coalesce(todouble(line.hoursLeft), 9999.0)
| where outcome in (${outcomesOfFailure}) or atRisk
| project lastSeen = TimeGenerated, service, gateway, destination, hoursLeft, outcome, reason = tostring(line.reason), code = tostring(line.code), error = tostring(line.error)
'''

var rowRules = [
  {
    name: 'token-expires-within-a-day'
    severity: 0
    hours: 24
    asks: 'hoursLeft < 24'
    tells: 'A gateway\'s token expires within 24 hours and could not be renewed, or its gateway does not run the new one.'
  }
  {
    name: 'token-expires-within-three-days'
    severity: 1
    hours: 72
    asks: 'hoursLeft >= 24 and hoursLeft < 72'
    tells: 'A gateway\'s token expires within 72 hours and could not be renewed, or its gateway does not run the new one.'
  }
  {
    name: 'renewal-failed'
    severity: 2
    hours: 10000
    asks: 'hoursLeft >= 72'
    tells: 'A renewal failed or a token is at risk. It lives for three days or more, or nobody knows for how long (9999).'
  }
]

var countRules = [
  {
    name: 'no-run'
    severity: 1
    window: windowOfRuns
    frequency: 'PT15M'
    threshold: 0
    dimensions: ['subscription']
    tells: 'No renewal run has been through this subscription for ${noRunAfterHours} hours: nothing there is renewed.'
    // Lines can be lost on their way while runs go well. So when no subscription has a line, successful invocations decide.
    query: $'''
let covered = ${lines} | where event == "${runOfSubscription}" and tobool(line.whole) and TimeGenerated > ago(${noRunAfterHours}h) | extend subscription = tolower(tostring(line.subscription)) | distinct subscription;
let invocations = AppRequests | where _ResourceId =~ "${componentId}" | where OperationName == "${runner}" and Success == true and TimeGenerated > ago(${noRunAfterHours}h);
let anyCovered = toscalar(covered | count) > 0;
let anyInvocation = toscalar(invocations | count) > 0;
datatable(subscription: string) [${listed}]
| where subscription !in (covered)
| where anyCovered or not(anyInvocation)
'''
  }
  {
    name: 'gateway-runs-an-old-token'
    severity: 1
    window: 'PT1H'
    frequency: 'PT15M'
    threshold: 0
    dimensions: ['service', 'gateway']
    tells: 'API Management says that a gateway runs an old token, although a newer one was delivered.'
    query: $'''
${lines}
| where event == "${row}" and tostring(line.code) == "${notPickedUp}"
| project lastSeen = TimeGenerated, service = tostring(line.service), gateway = tostring(line.gateway), destination = tostring(line.destination), outcome = tostring(line.outcome)
'''
  }
  {
    name: 'many-tokens-look-dead'
    severity: 1
    window: 'PT6H'
    frequency: 'PT1H'
    threshold: 0
    dimensions: []
    tells: 'The daily check found other answers of Azure than stored tokens for many gateways at once. Nothing was renewed for it.'
    query: $'''
${lines}
| where event == "${checkStopped}"
| project lastSeen = TimeGenerated, asked = toint(line.asked), dead = toint(line.dead), gateways = tostring(line.gateways), error = tostring(line.error)
'''
  }
  {
    name: 'message-poisoned'
    severity: 2
    window: 'PT1H'
    frequency: 'PT15M'
    threshold: 0
    dimensions: []
    tells: 'A message, of a run or of an event, failed at every try and is in a poison queue.'
    query: $'''
${lines}
| where event == "${poisoned}"
| project lastSeen = TimeGenerated, code = tostring(line.code), error = tostring(line.error)
'''
  }
  {
    name: 'calls-refused-by-the-app'
    severity: 3
    window: 'PT15M'
    frequency: 'PT5M'
    threshold: refusedCalls - 1
    dimensions: []
    tells: 'The app refused many calls in a short time: a caller is misconfigured, or somebody is trying. Calls that App Service authentication, the host or the network refused are not among them.'
    query: $'''
${lines}
| where event == "${refused}" and tostring(line.code) in (${codesOfRefusal})
| project lastSeen = TimeGenerated, code = tostring(line.code), error = tostring(line.error)
'''
  }
]

var groups = [...(email == null ? [] : [mail.id]), ...(actionGroupId == null ? [] : [actionGroupId!])]

resource mail 'Microsoft.Insights/actionGroups@2023-01-01' = if (email != null) {
  name: 'ag-${namePrefix}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'gw-tokens'
    enabled: true
    emailReceivers: [
      {
        name: 'mail'
        emailAddress: email ?? ''
        useCommonAlertSchema: true
      }
    ]
  }
}

resource rowAlerts 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for rule in rowRules: {
    name: '${namePrefix}-${rule.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: '${namePrefix}: ${rule.name}'
      description: '${rule.tells} Runbook: ${runbook}'
      enabled: true
      severity: rule.severity
      scopes: [workspaceId]
      windowSize: windowOfRuns
      evaluationFrequency: 'PT15M'
      autoMitigate: true
      // A new workspace has no such table yet, and would refuse the query.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: '${failingRows}| where ${rule.asks}'
            // The hours left are what the alert measures, so that its mail tells them.
            metricMeasureColumn: 'hoursLeft'
            timeAggregation: 'Minimum'
            operator: 'LessThan'
            threshold: rule.hours
            dimensions: [
              for name in ['service', 'gateway', 'destination']: {
                name: name
                operator: 'Include'
                values: ['*']
              }
            ]
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: groups
        customProperties: {
          runbook: runbook
          hoursLeft: '\${data.alertContext.condition.allOf[0].metricValue}'
          error: '\${data.alertContext.condition.allOf[0].linkToFilteredSearchResultsUI}'
        }
      }
    }
  }
]

resource countAlerts 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for rule in countRules: {
    name: '${namePrefix}-${rule.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: '${namePrefix}: ${rule.name}'
      description: '${rule.tells} Runbook: ${runbook}'
      enabled: true
      severity: rule.severity
      scopes: [workspaceId]
      windowSize: rule.window
      evaluationFrequency: rule.frequency
      autoMitigate: true
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: rule.threshold
            dimensions: map(rule.dimensions, name => { name: name, operator: 'Include', values: ['*'] })
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: groups
        customProperties: {
          runbook: runbook
          error: '\${data.alertContext.condition.allOf[0].linkToFilteredSearchResultsUI}'
        }
      }
    }
  }
]

// What the platform refuses never reaches the app, so it is in no log line. These metrics count the app's own refusals as well.
resource refusals 'Microsoft.Insights/metricAlerts@2026-01-01' = [
  for status in ['401', '403']: {
    name: '${namePrefix}-calls-answered-with-${status}'
    location: 'global'
    tags: tags
    properties: {
      description: 'Many calls were answered with ${status} in fifteen minutes, by App Service authentication, the host, the network or the app. Runbook: ${runbook}'
      enabled: true
      severity: 3
      scopes: [functionAppId]
      windowSize: 'PT15M'
      evaluationFrequency: 'PT5M'
      autoMitigate: true
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: 'refused'
            metricNamespace: 'Microsoft.Web/sites'
            metricName: 'Http${status}'
            timeAggregation: 'Total'
            operator: 'GreaterThanOrEqual'
            threshold: refusedCalls
            // The metric has no value before the first call.
            skipMetricValidation: true
          }
        ]
      }
      actions: map(groups, id => { actionGroupId: id })
    }
  }
]
