// one app for several teams: each keeps a file of its own, and grants its own rights with grants.bicep
using '../main.bicep'
import * as shop from 'several-teams/shop.bicep'
import * as plant from 'several-teams/plant.bicep'

param location = 'westeurope'
param alertEmail = 'platform-team@contoso.example'
param grants = 'elsewhere' // each team: az deployment group create --parameters several-teams/shop-grants.bicepparam
param deliverEvents = false // would need rights beside the services of the teams

var twice = intersection(objectKeys(shop.services), objectKeys(plant.services))
param estate = {
  services: empty(twice)
    ? { ...shop.services, ...plant.services }
    : fail('Two teams call a service the same: ${join(twice, ', ')}.')
  access: [
    ...shop.access
    ...plant.access
    { caller: { appRole: 'GatewayToken.Operator' }, gateways: ['*/*'], allow: ['renew', 'read'] }
  ]
}

param signIn = {
  clientId: '44444444-4444-4444-4444-444444444444' // the app registration
  allowedApplications: ['55555555-5555-5555-5555-555555555555'] // who may call it
}
