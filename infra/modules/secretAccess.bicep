metadata name = 'Access to single secrets'
metadata description = 'Lets the app read the secrets of one resource group that hold service accounts\' tokens, and no other.'

import { secretType } from '../estate.bicep'
import { keyVaultSecretsUser } from '../rights.bicep'

@description('Required. The secrets, each with the name of its vault. They must exist.')
param held secretType[]

@description('Required. The object id of the app\'s identity.')
param principalId string

@description('Required. What the names of assignments follow from, known before the deployment.')
param assignee string

resource vaults 'Microsoft.KeyVault/vaults@2026-02-01' existing = [
  for item in held: {
    name: item.vault
  }
]

resource secrets 'Microsoft.KeyVault/vaults/secrets@2026-02-01' existing = [
  for (item, index) in held: {
    parent: vaults[index]
    name: item.secret
  }
]

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (item, index) in held: {
    name: guid(toLower(secrets[index].id), assignee, keyVaultSecretsUser)
    scope: secrets[index]
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyVaultSecretsUser)
    }
  }
]
