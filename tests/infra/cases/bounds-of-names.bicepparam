// the longest names: two services that agree in their first 45 characters have topics of their own
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param resourceGroupName = 'rg-(the.longest)_0123456789-123456789-123456789-123456789-123456789-123456789-123456789-90'
param name = 'abc4567890-234567890'
param estate = {
  services: {
    one: {
      resourceId: '${sample.one}/rg-apim/providers/Microsoft.ApiManagement/service/contoso-and-all-of-its-friends-in-the-wide-world-1'
    }
    two: {
      resourceId: '${sample.one}/rg-apim/providers/Microsoft.ApiManagement/service/contoso-and-all-of-its-friends-in-the-wide-world-2'
    }
  }
}
param signIn = sample.signIn
param alerts = 'none'
