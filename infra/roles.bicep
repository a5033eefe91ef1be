metadata name = 'Roles'
metadata description = 'The custom roles, defined once for a whole management group, for deployers who may assign roles and not define them.'

targetScope = 'managementGroup'

import { clusterReader, issuer, keyRegenerator, secretWriter } from 'rights.bicep'
import { existingRolesType } from 'types.bicep'

var roles = [issuer, secretWriter, clusterReader, keyRegenerator]

resource definitions 'Microsoft.Authorization/roleDefinitions@2022-04-01' = [
  for role in roles: {
    name: guid(toLower(managementGroup().id), role.label)
    properties: {
      roleName: '${role.title} (${uniqueString(toLower(managementGroup().id))})'
      description: role.purpose
      type: 'CustomRole'
      permissions: [
        {
          actions: role.actions
          dataActions: role.dataActions
        }
      ]
      assignableScopes: [managementGroup().id]
    }
  }
]

@description('The resource ids of the roles, for the parameter existingRoles of main.bicep and grants.bicep.')
output existingRoles existingRolesType = {
  issuer: definitions[0].id
  secretWriter: definitions[1].id
  clusterReader: definitions[2].id
  keyRegenerator: definitions[3].id
}
