/** The services of one process. Two front doors and the background lead to the same ones; each role has those it needs. */

import type { Context } from '../context.ts'
import { createHeartbeat } from './attendance/heartbeat.ts'
import { createNodes } from './attendance/nodes.ts'
import { createVaults } from './beacon-status/vaults.ts'
import { createKnownLocks } from './charon/known-locks.ts'
import { createOpenExits } from './charon/open-exits.ts'
import { createPartialDeposits } from './charon/partial-deposits.ts'
import { createPartialExits } from './charon/partial-exits.ts'
import { createCoverage } from './clusters/coverage.ts'
import { createDepositRegistry } from './deposit-registry/deposit-registry.ts'
import { createExits } from './exits/exits.ts'
import { createMessageRate } from './exits/message-rate.ts'
import { createOwnerCopies } from './exits/owner-copies.ts'
import { createExplanations } from './explain/explanations.ts'
import { createNodeKeys } from './identity/node-keys.ts'
import { createOperatorKeys } from './identity/operator-keys.ts'
import { createOracleFetch } from './oracles/fetch.ts'
import { createOracleSets, type OracleSets } from './oracles/sets.ts'
import { createOracleShares, type OracleShares } from './oracles/shares.ts'
import { createManager, type Manager } from './registrations/manager.ts'
import { createRegistrations } from './registrations/registrations.ts'
import { createUnserved } from './registrations/unserved.ts'
import { createVaultActions } from './registrations/vault-actions.ts'
import { createVaultReader } from './registrations/vault-state.ts'
import { createRotation } from './rotation/rotation.ts'
import { openRotationWallet } from './rotation/transaction.ts'
import { createAwaitedVerdicts } from './signatures/awaited-verdicts.ts'
import { createFinishing } from './signatures/finish.ts'
import type { SidecarLists } from './signatures/sidecar-lists.ts'
import { createSubmission } from './signatures/submit.ts'
import { createVerification, type Verification } from './signatures/verify.ts'
import { createSnapshots } from './status/snapshot.ts'
import { createStatus } from './status/status.ts'

/** Creates the services of this process's role. What only one piece of background work needs is created there. */
export async function createServices(context: Context, lists: SidecarLists | undefined) {
  const { role } = context.config
  // Transactions are sent in the background only: a process that answers requests alone never holds the key.
  const rotationWallet = role === 'api' ? undefined : await openRotationWallet(context.config)
  const oracleSets = createOracleSets(context)
  const awaited = createAwaitedVerdicts()
  const finishing = role === 'api' ? undefined : createFinishing(context, awaited.concluded)
  const shared = {
    coverage: createCoverage(context),
    finishing,
    heartbeat: createHeartbeat(context),
    manager: createManager(context),
    nodeKeys: createNodeKeys(context),
    operatorKeys: createOperatorKeys(context),
    oracleSets,
    oracleShares: createOracleShares(context),
    ownerCopies: createOwnerCopies(context),
    rotation: createRotation({ ...context, oracleSets }, rotationWallet),
    snapshots: createSnapshots(context),
    vaults: createVaults(context),
    verification: createVerification(context, finishing, awaited),
  }
  return { ...shared, api: lists === undefined ? undefined : createApiServices(context, lists, shared) }
}
export type Services = Awaited<ReturnType<typeof createServices>>

/** What requests alone lead to. */
function createApiServices(
  context: Context,
  lists: SidecarLists,
  shared: { manager: Manager; oracleSets: OracleSets; oracleShares: OracleShares; verification: Verification },
) {
  const registry = createDepositRegistry(context)
  const vaultReader = createVaultReader(context)
  const messageRate = createMessageRate(context.config)
  const { manager, verification } = shared
  const unserved = createUnserved(context)
  const signatures = createSubmission({ ...context, verification })
  const nodeKeys = createNodeKeys(context)
  const knownLocks = createKnownLocks({ nodeKeys })
  const ofCharon = { ...context, nodeKeys, knownLocks, signatures }
  return {
    exits: createExits({ ...context, registry, messageRate }),
    explanations: createExplanations(context),
    knownLocks,
    lists,
    nodes: createNodes(context),
    openExits: createOpenExits(context),
    oracleFetch: createOracleFetch(context),
    partialDeposits: createPartialDeposits(ofCharon),
    partialExits: createPartialExits(ofCharon),
    registrations: createRegistrations({ ...context, ...shared, registry, messageRate, unserved, vaultReader }),
    registry,
    signatures,
    status: createStatus(context),
    unserved,
    vaultReader,
    vaultActions: createVaultActions({ ...context, manager, vaultReader }),
  }
}
