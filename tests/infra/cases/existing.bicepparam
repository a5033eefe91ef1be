// with a workspace, a system topic and roles that exist already, and an action group
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = sample.estate
param signIn = sample.signIn
param workspaceId = '${sample.one}/rg-logs/providers/Microsoft.OperationalInsights/workspaces/shared'
param existingEventTopics = { 'contoso-apim': 'topic-of-contoso' }
param existingRoles = {
  issuer: '/providers/Microsoft.Management/managementGroups/contoso/providers/Microsoft.Authorization/roleDefinitions/aaaaaaaa-0000-4000-8000-000000000001'
  secretWriter: '/providers/Microsoft.Management/managementGroups/contoso/providers/Microsoft.Authorization/roleDefinitions/aaaaaaaa-0000-4000-8000-000000000002'
  keyRegenerator: '/providers/Microsoft.Management/managementGroups/contoso/providers/Microsoft.Authorization/roleDefinitions/aaaaaaaa-0000-4000-8000-000000000003'
}
param allowRevoke = true
param actionGroupId = '${sample.one}/rg-monitoring/providers/Microsoft.Insights/actionGroups/platform-team'
