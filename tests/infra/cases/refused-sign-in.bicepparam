// rules for people who sign in, and no way to sign in
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = {
  ...sample.estate
  access: [
    { caller: { appRole: 'GatewayToken.Issue' }, gateways: ['*/*'], allow: ['issue'] }
  ]
}
param allowFunctionKeys = true
param alerts = 'none'
