// a new deployment with the defaults
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = sample.estate
param signIn = sample.signIn
param alerts = 'none'
