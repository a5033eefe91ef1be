// the alert rules, with their queries
using '../../../infra/modules/alerts.bicep'

param actionGroupId = '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-monitoring/providers/Microsoft.Insights/actionGroups/platform-team'
param workspaceId = '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/log'
param componentId = '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.Insights/components/appi'
param sweepSilence = 'PT3H'
param refusedCalls = 20
param namePrefix = 'gateway-tokens'
param location = 'westeurope'
param tags = {}
