metadata name = 'Access to single secrets'
metadata description = 'Lets the app read the secrets of one resource group that hold service accounts\' tokens, and no other.'

@description('Required. The secrets, each with the name of its vault. They must exist.')
param secrets { vault: string, secret: string }[]

@description('Required. The object id of the app\'s identity.')
param principalId string

var keyVaultSecretsUser = '4633458b-17de-408a-b874-0445c86b69e6'

resource vaults 'Microsoft.KeyVault/vaults@2024-11-01' existing = [for item in secrets: {
  name: item.vault
}]

resource held 'Microsoft.KeyVault/vaults/secrets@2024-11-01' existing = [for (item, index) in secrets: {
  parent: vaults[index]
  name: item.secret
}]

resource readers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (item, index) in secrets: {
  name: guid(held[index].id, principalId, keyVaultSecretsUser)
  scope: held[index]
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyVaultSecretsUser)
  }
}]
