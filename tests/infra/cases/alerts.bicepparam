// the alert rules, with their queries
using '../../../infra/modules/alerts.bicep'
import { one } from 'sample.bicep'

param email = 'platform-team@contoso.example'
param actionGroupId = '${one}/rg-monitoring/providers/Microsoft.Insights/actionGroups/platform-team'
param workspaceId = '${one}/rg/providers/Microsoft.OperationalInsights/workspaces/log'
param componentId = '${one}/rg/providers/Microsoft.Insights/components/appi'
param functionAppId = '${one}/rg/providers/Microsoft.Web/sites/func'
param subscriptions = ['11111111-1111-1111-1111-111111111111', 'AAAAAAAA-2222-2222-2222-222222222222']
param noRunAfterHours = 7
param refusedCalls = 20
param runbook = 'https://wiki.contoso.example/gateway-tokens'
param namePrefix = 'gateway-tokens'
param location = 'westeurope'
param tags = {}
