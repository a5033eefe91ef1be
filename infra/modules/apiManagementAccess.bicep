metadata name = 'Access to API Management'
metadata description = 'What the app may do with the API Management services of one resource group.'

import { issuer, keyRegenerator } from '../rights.bicep'

@description('Required. The names of the services.')
param serviceNames string[]

@description('Required. The object id of the app\'s identity.')
param principalId string

@description('Required. What the names of assignments follow from, known before the deployment.')
param assignee string

@description('Optional. The resource id of a role that exists already. Default: a custom role in this group.')
param roleId string?

@description('Required. The names of those services whose gateways\' keys may be regenerated.')
param regeneratingNames string[]

@description('Optional. The resource id of a role that exists already, for regenerating keys. Default: a custom role in this group.')
param regeneratorRoleId string?

resource services 'Microsoft.ApiManagement/service@2024-05-01' existing = [
  for name in serviceNames: {
    name: name
  }
]

// A custom role cannot be assignable at a single resource: it may be assigned in this group, and is at the resource.
resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (roleId == null) {
  name: guid(toLower(resourceGroup().id), issuer.label)
  properties: {
    roleName: '${issuer.title} (${uniqueString(toLower(resourceGroup().id))})'
    description: issuer.purpose
    type: 'CustomRole'
    permissions: [
      {
        actions: issuer.actions
        dataActions: issuer.dataActions
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

// Azure does not let an assignment change its role, so a name follows from the role as well.
resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, index) in serviceNames: {
    name: guid(toLower(services[index].id), assignee, toLower(roleId ?? issuer.label))
    scope: services[index]
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: roleId ?? role.id
    }
  }
]

// A role of its own: most estates never need it.
resource regenerator 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (regeneratorRoleId == null && !empty(regeneratingNames)) {
  name: guid(toLower(resourceGroup().id), keyRegenerator.label)
  properties: {
    roleName: '${keyRegenerator.title} (${uniqueString(toLower(resourceGroup().id))})'
    description: keyRegenerator.purpose
    type: 'CustomRole'
    permissions: [
      {
        actions: keyRegenerator.actions
        dataActions: keyRegenerator.dataActions
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

resource regenerating 'Microsoft.ApiManagement/service@2024-05-01' existing = [
  for name in regeneratingNames: {
    name: name
  }
]

resource regeneratorAssignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, index) in regeneratingNames: {
    name: guid(toLower(regenerating[index].id), assignee, toLower(regeneratorRoleId ?? keyRegenerator.label))
    scope: regenerating[index]
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: regeneratorRoleId ?? regenerator.id
    }
  }
]
