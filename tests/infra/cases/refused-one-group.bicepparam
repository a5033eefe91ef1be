// an estate with more resources in one group than one deployment covers
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = {
  services: toObject(range(0, 251), number => 'service-${number}', number => {
    resourceId: '${sample.one}/rg/providers/Microsoft.ApiManagement/service/apim-${number}'
  })
}
param signIn = sample.signIn
param alerts = 'none'
