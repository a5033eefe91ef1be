// the workbook, with its queries
using '../../../infra/modules/workbook.bicep'
import { one } from 'sample.bicep'

param name = '88888888-8888-4888-8888-888888888888'
param workspaceId = '${one}/rg/providers/Microsoft.OperationalInsights/workspaces/log'
param componentId = '${one}/rg/providers/Microsoft.Insights/components/appi'
param displayName = 'gateway-tokens'
param noRunAfterHours = 7
param runbook = 'https://wiki.contoso.example/gateway-tokens'
param location = 'westeurope'
param tags = {}
