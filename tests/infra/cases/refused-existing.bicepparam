// what exists already, named by something else than its id
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = sample.estate
param signIn = sample.signIn
param workspaceId = 'shared'
param existingRoles = { issuer: 'Gateway token issuer' }
param existingEventTopics = { 'fabrikam-apim': sample.contoso }
param actionGroupId = sample.vault
