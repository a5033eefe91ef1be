// access rules that name nobody, or somebody who can never call
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = {
  ...sample.estate
  access: [
    { caller: {}, gateways: ['*/*'], allow: ['read'] }
    { caller: { functionKey: false, appRole: null }, gateways: ['*/*'], allow: ['read'] }
    { caller: { functionKey: true }, gateways: ['*/*'], allow: ['read'] }
    { caller: { functionKey: true, appRole: 'GatewayToken.Issue' }, gateways: ['*/*'], allow: ['read'] }
    { caller: { objectId: 'somebody' }, gateways: ['contoso', 'contoso/edge/01'], allow: ['issue'] }
    { caller: { appRole: 'GatewayToken.Issue' }, gateways: ['fabrikam/*', 'CONTOSO/*'], allow: ['issue'] }
    { caller: { clientId: '55555555-5555-5555-5555-555555555555' }, gateways: ['*/*'], allow: ['issue'] }
  ]
}
param signIn = sample.signIn
param alerts = 'none'
