/** What the package offers. */

export { ContractError, type RelayerClient } from '@dvt-relayer/api/client.ts'
export type * from '@dvt-relayer/api/schemas.ts'
export { HttpError } from '@dvt-relayer/common/http/client.ts'
export {
  type Addressee,
  type Authenticate,
  type OperatorSigner,
  withNodeKey,
  withOperatorKey,
  withOracleKey,
  withToken,
} from './authentication.ts'
export { connectRelayer, type RelayerOptions, RelayerRefusal } from './connect.ts'
export { followExitShares, followExits, followValidators, untilExitsReady, untilRegistrationReady } from './follow.ts'
