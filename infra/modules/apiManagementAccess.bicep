metadata name = 'Access to API Management'
metadata description = 'What the app may do with the API Management services of one resource group.'

import { issuer } from '../rights.bicep'

@description('Required. The names of the services.')
param serviceNames string[]

@description('Required. The object id of the app\'s identity.')
param principalId string

@description('Required. What the names of assignments follow from, known before the deployment.')
param assignee string

@description('Optional. The resource id of a role that exists already. Default: a custom role in this group.')
param roleId string?

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
