// an estate of more bytes than one app setting holds
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = {
  services: toObject(range(0, 700), number => 'service-${number}', number => {
    resourceId: '${sample.one}/rg-${number % 200}/providers/Microsoft.ApiManagement/service/apim-${number}'
  })
}
param signIn = sample.signIn
param alerts = 'none'
