metadata name = 'Vault'
metadata description = 'A new vault for tokens, made only when asked for. Nothing else should live in it.'

import { tagsType } from '../types.bicep'

@description('Required. The name of the vault.')
@minLength(3)
@maxLength(24)
param name string

@description('Required. The region.')
param location string

@description('Required. Tags of every resource.')
param tags tagsType

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enablePurgeProtection: true
    softDeleteRetentionInDays: 90
    publicNetworkAccess: 'Enabled'
  }
}

@description('The address of the vault.')
output address string = vault.properties.vaultUri
