/** What the routes ask for. */

import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import type { RelayerConfig } from '../config.ts'
import type { Events } from '../events.ts'
import type { Nodes } from '../services/attendance/nodes.ts'
import type { Vaults } from '../services/beacon-status/vaults.ts'
import type { KnownLocks } from '../services/charon/known-locks.ts'
import type { OpenExits } from '../services/charon/open-exits.ts'
import type { PartialDeposits } from '../services/charon/partial-deposits.ts'
import type { PartialExits } from '../services/charon/partial-exits.ts'
import type { Coverage } from '../services/clusters/coverage.ts'
import type { Exits } from '../services/exits/exits.ts'
import type { OwnerCopies } from '../services/exits/owner-copies.ts'
import type { Explanations } from '../services/explain/explanations.ts'
import type { Health } from '../services/health.ts'
import type { NodeKeys } from '../services/identity/node-keys.ts'
import type { OracleFetch } from '../services/oracles/fetch.ts'
import type { OracleShares } from '../services/oracles/shares.ts'
import type { Manager } from '../services/registrations/manager.ts'
import type { RegistrationService } from '../services/registrations/registrations.ts'
import type { VaultActions } from '../services/registrations/vault-actions.ts'
import type { Rotation } from '../services/rotation/rotation.ts'
import type { SidecarLists } from '../services/signatures/sidecar-lists.ts'
import type { Submission } from '../services/signatures/submit.ts'
import type { StatusService } from '../services/status/status.ts'
import type { Auth } from './auth/auth.ts'

/** What every process answers with: people and machines around it ask for no more. */
export interface HttpContext {
  config: RelayerConfig
  auth: Auth
  events: Events
  logger: Logger
  health: Health
  manager: Pick<Manager, 'address'>
  coverage: Coverage
  /** Aborted when the process stops: long polls end. */
  stopping: AbortSignal
}

/** What operators, sidecars and oracles are answered with, where the process serves them. */
export interface ApiContext extends HttpContext {
  services: {
    exits: Exits
    explanations: Explanations
    signatures: Submission
    oracleShares: OracleShares
    oracleFetch: OracleFetch
    ownerCopies: OwnerCopies
    registrations: RegistrationService
    vaultActions: VaultActions
    vaults: Vaults
    rotation: Rotation
    knownLocks: KnownLocks
    lists: SidecarLists
    nodes: Nodes
    nodeKeys: NodeKeys
    openExits: OpenExits
    partialDeposits: PartialDeposits
    partialExits: PartialExits
    status: StatusService
  }
}
