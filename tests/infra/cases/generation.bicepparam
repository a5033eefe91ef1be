// the second generation of assignments
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = sample.estate
param signIn = sample.signIn
param generation = 2
param alerts = 'none'
