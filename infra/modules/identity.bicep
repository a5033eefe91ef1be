metadata name = 'Identity'
metadata description = 'The app\'s own identity. User-assigned, so that its roles stand before the app first starts.'

import { tagsType } from '../types.bicep'

@description('Required. The name of the identity.')
param name string

@description('Required. The region.')
param location string

@description('Required. Tags of every resource.')
param tags tagsType

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: tags
}

@description('The client id of the identity.')
output clientId string = identity.properties.clientId

@description('The object id of the identity, which roles are assigned to.')
output principalId string = identity.properties.principalId
