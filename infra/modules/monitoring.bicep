metadata name = 'Monitoring'
metadata description = 'Application Insights in a Log Analytics workspace, both without keys.'

import { tagsType } from '../types.bicep'
import { monitoringMetricsPublisher } from '../rights.bicep'

@description('Required. The name of the Application Insights component.')
param componentName string

@description('Required. The name of the workspace that is made when none is given.')
param workspaceName string

@description('Optional. The resource id of an existing workspace. Default: a new one.')
param existingWorkspaceId string?

@description('Required. How many days a new workspace keeps logs.')
@minValue(30)
@maxValue(730)
param retentionInDays int

@description('Required. The object id of the app\'s identity.')
param principalId string

@description('Required. What the names of assignments follow from, known before the deployment.')
param assignee string

@description('Required. The region.')
param location string

@description('Required. Tags of every resource.')
param tags tagsType

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = if (existingWorkspaceId == null) {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retentionInDays
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}

resource component 'Microsoft.Insights/components@2020-02-02' = {
  name: componentName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: existingWorkspaceId ?? workspace.id
    DisableLocalAuth: true
  }
}

resource publisher 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(toLower(component.id), assignee, monitoringMetricsPublisher)
  scope: component
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      monitoringMetricsPublisher
    )
  }
}

@description('The resource id of the workspace.')
output workspaceId string = existingWorkspaceId ?? workspace.id

@description('The resource id of the Application Insights component.')
output componentId string = component.id

@description('Where telemetry goes. With local authentication off it admits nobody without a role.')
output connectionString string = component.properties.ConnectionString
