// rights are granted elsewhere
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = sample.estate
param signIn = sample.signIn
param grants = 'elsewhere'
param deliverEvents = false
param alerts = 'none'
