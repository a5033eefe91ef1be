// an estate in more resource groups than one deployment covers
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = {
  services: toObject(range(0, 201), number => 'service-${number}', number => {
    resourceId: '${sample.one}/rg-${number}/providers/Microsoft.ApiManagement/service/apim-${number}'
  })
}
param signIn = sample.signIn
param alerts = 'none'
