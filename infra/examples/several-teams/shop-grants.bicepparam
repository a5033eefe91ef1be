// the rights that the part of one team needs: deployed by the team, in its own resource group
using '../../grants.bicep'
import { services } from 'shop.bicep'

param estate = { services: services }
// Both are outputs of the platform's deployment.
param principalId = '66666666-6666-6666-6666-666666666666'
param identityId = '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-gateway-tokens/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-gateway-tokens-abc123def456g'
