// a team grants what its part of the estate needs, under the names that the platform's own deployment would give
using '../../../infra/grants.bicep'
import * as sample from 'sample.bicep'

param estate = sample.estate
param principalId = '66666666-6666-6666-6666-666666666666'
param identityId = '${sample.one}/rg-gateway-tokens/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-gateway-tokens-euvj2pbnrbrli'
