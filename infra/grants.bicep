metadata name = 'Grants'
metadata description = 'The rights that an estate, or a part of it, needs. Deployed by main.bicep, or by each team for itself.'

targetScope = 'resourceGroup'

import { estateType } from 'estate.bicep'
import { estateFaults } from 'faults/estate.bicep'
import { roleFaults } from 'faults/parameters.bicep'
import { guidFaults, optionalIdFaults, refusalOf } from 'faults/texts.bicep'
import { existingRolesType } from 'types.bicep'

@description('Required. The estate, or the part of it that one team answers for.')
param estate estateType

@description('Required. The object id of the app\'s identity: the output identityPrincipalId of main.bicep.')
param principalId string

@description('Optional. The resource id of the app\'s identity: the output identityId of main.bicep. With it the assignments have the names that main.bicep gives them. Default: names follow from principalId.')
param identityId string?

@description('Optional. The resource id of the vault of destinations that name none. Default: every destination names one.')
param newVaultId string?

@description('Optional. Grant the regeneration of all gateways\' keys, which `revoke` needs. Default: only where a rule has rotateKeys.')
param allowRevoke bool = false

@description('Optional. Roles that exist already. Default: custom roles are defined beside what they open.')
param existingRoles existingRolesType = {}

@description('Optional. Enters the names of all assignments. Raise it when Azure answers RoleAssignmentUpdateNotPermitted.')
@minValue(1)
param generation int = 1

var faults = [
  ...estateFaults(estate, newVaultId)
  ...guidFaults('principalId', principalId)
  ...optionalIdFaults(
    'identityId',
    identityId,
    'Microsoft.ManagedIdentity/userAssignedIdentities',
    'a managed identity'
  )
  ...optionalIdFaults('newVaultId', newVaultId, 'Microsoft.KeyVault/vaults', 'a Key Vault')
  ...roleFaults(existingRoles)
]
var soundEstate = empty(faults) ? estate : fail(refusalOf(faults))

module access 'modules/estateAccess.bicep' = {
  params: {
    estate: soundEstate
    principalId: principalId
    assignee: '${toLower(identityId ?? principalId)}#${generation}'
    newVaultId: newVaultId
    allowRevoke: allowRevoke
    existingRoles: existingRoles
  }
}
