// a team that names neither a vault nor a principal
using '../../../infra/grants.bicep'
import * as sample from 'sample.bicep'

param estate = {
  services: {
    contoso: {
      resourceId: sample.contoso
      gateways: { '*': { destinations: [{ kind: 'keyVault' }] } }
    }
  }
}
param principalId = 'gateway-tokens'
