metadata name = 'Access to single secrets'
metadata description = 'Lets the app read the secrets of one resource group that hold service accounts\' tokens, and no other.'

type heldType = {
  @description('Required. The name of the vault.')
  vault: string

  @description('Required. The name of the secret.')
  secret: string
}

@description('Required. The secrets, each with the name of its vault. They must exist.')
param held heldType[]

@description('Required. The object id of the app\'s identity.')
param principalId string

var keyVaultSecretsUser = '4633458b-17de-408a-b874-0445c86b69e6'

resource vaults 'Microsoft.KeyVault/vaults@2024-11-01' existing = [for item in held: {
  name: item.vault
}]

resource secrets 'Microsoft.KeyVault/vaults/secrets@2024-11-01' existing = [for (item, index) in held: {
  parent: vaults[index]
  name: item.secret
}]

resource readers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (item, index) in held: {
  name: guid(secrets[index].id, principalId, keyVaultSecretsUser)
  scope: secrets[index]
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyVaultSecretsUser)
  }
}]
