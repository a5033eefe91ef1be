metadata name = 'Access to vaults'
metadata description = 'What the app may do with the vaults of one resource group: set and read secrets, and nothing to keys or certificates.'

@description('Required. The names of the vaults.')
param vaultNames string[]

@description('Required. The object id of the app\'s identity.')
param principalId string

@description('Optional. The resource id of an existing role that may set and read secrets. Default: a new one.')
param writerRoleId string?

resource vaults 'Microsoft.KeyVault/vaults@2024-11-01' existing = [for name in vaultNames: {
  name: name
}]

// Narrower than Key Vault Secrets Officer, which may also list, delete, purge, back up and restore.
resource secretWriter 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (writerRoleId == null) {
  name: guid(toLower(resourceGroup().id), 'gateway-token-secret-writer')
  properties: {
    roleName: 'Gateway token secret writer (${uniqueString(toLower(resourceGroup().id))})'
    description: 'Sets and reads secrets by name. Lists and deletes none.'
    type: 'CustomRole'
    permissions: [
      {
        dataActions: [
          'Microsoft.KeyVault/vaults/secrets/setSecret/action'
          'Microsoft.KeyVault/vaults/secrets/getSecret/action'
        ]
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

// At the vault, not at single secrets: a secret does not exist before its first token, a pattern names secrets
// that nobody knows yet, and one assignment per gateway would use up the 4,000 that a subscription may have.
resource secretWriters 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, index) in vaultNames: {
  name: guid(vaults[index].id, principalId, writerRoleId ?? 'gateway-token-secret-writer')
  scope: vaults[index]
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: writerRoleId ?? secretWriter.id
  }
}]
