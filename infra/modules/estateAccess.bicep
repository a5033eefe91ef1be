metadata name = 'Access to the estate'
metadata description = 'The rights that an estate needs, wherever its resources are.'

import {
  estateType
  apiManagementIds
  regeneratingIds
  vaultIds
  clusterIds
  signInSecretIds
  resourceGroupsOf
  namesIn
  secretsIn
} from '../estate.bicep'
import { existingRolesType } from '../types.bicep'

@description('Required. The estate.')
param estate estateType

@description('Required. The object id of the app\'s identity.')
param principalId string

@description('Required. What the names of assignments follow from, known before the deployment.')
param assignee string

@description('Optional. The resource id of the vault of destinations that name none. Default: every destination names one.')
param newVaultId string?

@description('Required. Whether the keys of all gateways may be regenerated, and not only of those whose rules rotate them.')
param allowRevoke bool

@description('Required. Roles that exist already.')
param existingRoles existingRolesType

var services = apiManagementIds(estate)
var regenerating = regeneratingIds(estate, allowRevoke)
var vaults = vaultIds(estate, newVaultId)
var clusters = clusterIds(estate)
var signInSecrets = signInSecretIds(estate)

module apiManagementAccess 'apiManagementAccess.bicep' = [
  for group in resourceGroupsOf(services): {
    scope: resourceGroup(split(group, '/')[2], split(group, '/')[4])
    params: {
      serviceNames: namesIn(group, services)
      principalId: principalId
      assignee: assignee
      roleId: existingRoles.?issuer
      regeneratingNames: namesIn(group, regenerating)
      regeneratorRoleId: existingRoles.?keyRegenerator
    }
  }
]

module vaultAccess 'vaultAccess.bicep' = [
  for group in resourceGroupsOf(vaults): {
    scope: resourceGroup(split(group, '/')[2], split(group, '/')[4])
    params: {
      vaultNames: namesIn(group, vaults)
      principalId: principalId
      assignee: assignee
      roleId: existingRoles.?secretWriter
    }
  }
]

module secretAccess 'secretAccess.bicep' = [
  for group in resourceGroupsOf(signInSecrets): {
    scope: resourceGroup(split(group, '/')[2], split(group, '/')[4])
    params: {
      held: secretsIn(group, signInSecrets)
      principalId: principalId
      assignee: assignee
    }
  }
]

module clusterAccess 'clusterAccess.bicep' = [
  for group in resourceGroupsOf(clusters): {
    scope: resourceGroup(split(group, '/')[2], split(group, '/')[4])
    params: {
      clusterNames: namesIn(group, clusters)
      principalId: principalId
      assignee: assignee
      roleId: existingRoles.?clusterReader
    }
  }
]
