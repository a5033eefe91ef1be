// function keys in place of sign-in
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = {
  ...sample.estate
  access: [
    {
      caller: { functionKey: true }
      gateways: ['contoso/*']
      allow: ['issue', 'renew', 'read']
    }
  ]
}
param allowFunctionKeys = true
param alerts = 'none'
