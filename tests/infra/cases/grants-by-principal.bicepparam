// a team that knows the object id of the identity alone
using '../../../infra/grants.bicep'
import * as sample from 'sample.bicep'

param estate = sample.estate
param principalId = '66666666-6666-6666-6666-666666666666'
