metadata name = 'Access to vaults'
metadata description = 'What the app may do with the vaults of one resource group: set and read secrets, and nothing to keys or certificates.'

import { secretWriter } from '../rights.bicep'

@description('Required. The names of the vaults.')
param vaultNames string[]

@description('Required. The object id of the app\'s identity.')
param principalId string

@description('Required. What the names of assignments follow from, known before the deployment.')
param assignee string

@description('Optional. The resource id of a role that exists already. Default: a custom role in this group.')
param roleId string?

resource vaults 'Microsoft.KeyVault/vaults@2026-02-01' existing = [
  for name in vaultNames: {
    name: name
  }
]

// A custom role cannot be assignable at a single resource: it may be assigned in this group, and is at the resource.
resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (roleId == null) {
  name: guid(toLower(resourceGroup().id), secretWriter.label)
  properties: {
    roleName: '${secretWriter.title} (${uniqueString(toLower(resourceGroup().id))})'
    description: secretWriter.purpose
    type: 'CustomRole'
    permissions: [
      {
        actions: secretWriter.actions
        dataActions: secretWriter.dataActions
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

// At the vault, not at single secrets: a secret does not exist before its first token, a pattern names secrets
// that nobody knows yet, and one assignment per gateway would use up the 4,000 that a subscription may have.
resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, index) in vaultNames: {
    name: guid(toLower(vaults[index].id), assignee, toLower(roleId ?? secretWriter.label))
    scope: vaults[index]
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: roleId ?? role.id
    }
  }
]
