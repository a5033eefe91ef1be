// function keys, and a bearer token beside them that tells who is calling
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = sample.estate
param allowFunctionKeys = true
param signIn = {
  ...sample.signIn
  tenantId: '88888888-8888-4888-8888-888888888888'
  audiences: ['api://gateway-tokens']
}
param alerts = 'none'
