metadata name = 'Access to Container Apps'
metadata description = 'What the app may do with the Container Apps of one resource group.'

@description('Required. The names of the apps. One that depends on gateways found later still holds its braces.')
param appNames string[]

@description('Required. The object id of the app\'s identity.')
param principalId string

@description('Optional. The resource id of an existing role that may read and write Container Apps. Default: a new one.')
param writerRoleId string?

var fixedNames = filter(appNames, name => !contains(name, '{'))
var namesFollow = length(fixedNames) < length(appNames)

resource apps 'Microsoft.App/containerApps@2025-01-01' existing = [for name in fixedNames: {
  name: name
}]

resource writer 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (writerRoleId == null) {
  name: guid(toLower(resourceGroup().id), 'gateway-token-container-app-writer')
  properties: {
    roleName: 'Gateway token Container App writer (${uniqueString(toLower(resourceGroup().id))})'
    description: 'Reads and changes Container Apps and their secrets, and reads and restarts their revisions.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.App/containerApps/read'
          'Microsoft.App/containerApps/write'
          'Microsoft.App/containerApps/listSecrets/action'
          'Microsoft.App/containerApps/revisions/read'
          'Microsoft.App/containerApps/revisions/restart/action'
        ]
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

resource writers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, index) in fixedNames: {
  name: guid(apps[index].id, principalId, writerRoleId ?? 'gateway-token-container-app-writer')
  scope: apps[index]
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: writerRoleId ?? writer.id
  }
}]

// Apps whose names follow from gateways that nobody knows yet can only be covered by their group.
resource groupWriter 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (namesFollow) {
  name: guid(toLower(resourceGroup().id), principalId, writerRoleId ?? 'gateway-token-container-app-writer')
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: writerRoleId ?? writer.id
  }
}
