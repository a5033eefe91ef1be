metadata name = 'Workbook'
metadata description = 'The estate on one page. The queries use the documented fields of the app\'s log lines.'

import { tagsType } from '../types.bicep'

@description('Required. The name of the resource. Azure demands a GUID.')
param name string

@description('Required. The resource id of the workspace.')
param workspaceId string

@description('Required. The resource id of the Application Insights component, for a workspace that many share.')
param componentId string

@description('Required. How the page is called.')
param displayName string

@description('Required. How many hours back the last line of a row is looked for, as the alerts do.')
@minValue(1)
@maxValue(48)
param noRunAfterHours int

@description('Required. Where the runbook is.')
param runbook string

@description('Required. The region.')
param location string

@description('Required. Tags of every resource.')
param tags tagsType

// What the app calls its log lines, outcomes, reasons and codes: here, and nowhere else in this file.
var outcomes = [
  'fresh'
  'renewed'
  'unchanged'
  'restarting'
  'waiting'
  'unverified'
  'paused'
  'failed'
  'not_reached'
  'gone'
]
var outcomesOfFailure = '"failed", "not_reached"'
var reasonsOfRestarts = '"restart_due", "restarting", "not_restarted", "restart_unverified", "waiting_for_workload", "not_picked_up"'
var codesOfThrottling = '"azure_throttled", "too_many_requests"'
var rotations = '"key.switched", "key.regenerated", "key.revoked", "key.not_regenerated"'

var lines = 'AppTraces | where _ResourceId =~ "${componentId}" | extend line = parse_json(Message) | extend event = tostring(line.event)'
var wholeRuns = '${lines}\n| where event == "run.completed" and tobool(line.whole)'
var gateway = 'gateway = strcat(line.service, "/", line.gateway)'
var states = join(map(outcomes, outcome => '"${outcome}", line.${outcome}'), ', ')

var twoDays = { durationMs: 172800000 }
var parts = [
  {
    title: 'Tokens by state, at the last run of each subscription'
    chart: 'piechart'
    width: '33'
    time: twoDays
    query: $'''
${wholeRuns}
| summarize arg_max(TimeGenerated, line) by subscription = tolower(tostring(line.subscription))
| project states = bag_pack(${states})
| mv-expand state = bag_keys(states) to typeof(string)
| summarize tokens = sum(toint(states[state])) by state
| where tokens > 0
| order by tokens desc
'''
  }
  {
    title: 'Renewals and expiries of the next 30 days'
    chart: 'barchart'
    width: '67'
    time: twoDays
    query: $'''
${lines}
| where event == "service.completed" and tobool(line.whole)
| summarize arg_max(TimeGenerated, line) by service = tostring(line.service)
| project kinds = bag_pack("renewals", line.dueByDay, "expiries", line.expiryByDay)
| mv-expand what = bag_keys(kinds) to typeof(string)
| mv-expand on = bag_keys(kinds[what]) to typeof(string)
| extend day = todatetime(on), tokens = toint(kinds[what][on])
| where day between (startofday(now()) .. startofday(now(30d)))
| summarize tokens = sum(tokens) by day, what
| order by day asc
'''
  }
  {
    title: 'What fails or is at risk, since when, and the hours left'
    chart: 'table'
    width: '100'
    time: twoDays
    query: $'''
${lines}
| where event == "run.row" and TimeGenerated > ago(${noRunAfterHours}h)
| extend ${gateway}, destination = tostring(line.destination)
| summarize arg_max(TimeGenerated, line) by gateway, destination
| extend outcome = tostring(line.outcome), hoursLeft = todouble(line.hoursLeft)
| where outcome in (${outcomesOfFailure}) or tobool(line.atRisk)
| project hoursLeft, gateway, since = todatetime(line.failingSince), code = tostring(line.code), error = tostring(line.error), reason = tostring(line.reason), outcome, destination, lastTried = TimeGenerated
| order by hoursLeft asc nulls first
'''
  }
  {
    title: 'The last run of each subscription'
    chart: 'table'
    width: '50'
    time: twoDays
    query: $'''
${wholeRuns}
| summarize arg_max(TimeGenerated, line) by subscription = tolower(tostring(line.subscription))
| project subscription, ended = TimeGenerated, rows = toint(line.rows), renewed = toint(line.renewed), failed = toint(line.failed), atRisk = toint(line.atRisk), seconds = todouble(line.seconds)
| order by failed desc, subscription asc
'''
  }
  {
    title: 'Seconds that runs took'
    chart: 'timechart'
    width: '50'
    time: null
    query: $'''
${wholeRuns}
| project TimeGenerated, subscription = tostring(line.subscription), seconds = todouble(line.seconds)
| order by TimeGenerated asc
'''
  }
  {
    title: 'Restarts'
    chart: 'table'
    width: '100'
    time: null
    query: $'''
${lines}
| where event == "run.row" and (tostring(line.outcome) == "restarting" or tostring(line.reason) in (${reasonsOfRestarts}))
| summarize runs = count(), arg_max(TimeGenerated, line) by ${gateway}, destination = tostring(line.destination), outcome = tostring(line.outcome)
| project lastTime = TimeGenerated, gateway, outcome, reason = tostring(line.reason), runs, error = tostring(line.error), destination
| top 250 by lastTime desc
'''
  }
  {
    title: 'Rotations of keys'
    chart: 'table'
    width: '100'
    time: null
    query: $'''
${lines}
| where event in (${rotations})
| project at = TimeGenerated, event, ${gateway}, key = tostring(line.keyType), reason = tostring(line.reason), caller = tostring(line.caller), destination = tostring(line.destination)
| top 250 by at desc
'''
  }
  {
    title: 'Who issued what'
    chart: 'table'
    width: '50'
    time: null
    query: $'''
${lines}
| where event == "token.issued"
| summarize tokens = count(), lastTime = max(TimeGenerated), until = max(todatetime(line.expiry)) by caller = tostring(line.caller), ${gateway}, key = tostring(line.keyType)
| project lastTime, caller, gateway, key, tokens, until
| top 250 by lastTime desc
'''
  }
  {
    title: 'Throttled by Azure or by the app'
    chart: 'barchart'
    width: '50'
    time: null
    query: $'''
${lines}
| where event in ("run.row", "request.failed") and tostring(line.code) in (${codesOfThrottling})
| summarize count() by bin(TimeGenerated, 1h), what = strcat(event, " ", line.code)
| order by TimeGenerated asc
'''
  }
]

var introduction = 'What the log lines of the app say. State and the days ahead are those of the last run; the rest follows the time that you choose. What each reason, outcome and code means, and what to do: ${runbook}'

var page = {
  version: 'Notebook/1.0'
  items: [
    {
      type: 1
      name: 'introduction'
      content: { json: introduction }
    }
    {
      type: 9
      name: 'time'
      content: {
        version: 'KqlParameterItem/1.0'
        style: 'pills'
        parameters: [
          {
            id: guid('time')
            version: 'KqlParameterItem/1.0'
            name: 'Time'
            type: 4
            isRequired: true
            value: { durationMs: 604800000 }
            typeSettings: {
              selectableValues: map([1, 2, 7, 14, 30], days => { durationMs: days * 86400000 })
              allowCustom: true
            }
          }
        ]
      }
    }
    ...map(parts, part => {
      type: 3
      name: part.title
      customWidth: part.width
      content: {
        version: 'KqlItem/1.0'
        title: part.title
        query: part.query
        size: 0
        ...(part.time == null ? { timeContextFromParameter: 'Time' } : { timeContext: part.time })
        queryType: 0
        resourceType: 'microsoft.operationalinsights/workspaces'
        crossComponentResources: [workspaceId]
        visualization: part.chart
        noDataMessage: 'Nothing.'
        showExportToExcel: part.chart == 'table'
      }
    })
  ]
  fallbackResourceIds: [workspaceId]
  '$schema': 'https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json'
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: displayName
    category: 'workbook'
    sourceId: componentId
    version: 'Notebook/1.0'
    serializedData: string(page)
  }
}
