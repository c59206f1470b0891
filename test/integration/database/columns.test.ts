/** Every query of libs/db runs here once on a migrated database: one whose columns are not those it says fails. */

import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { migrateDatabase } from '@dvt-relayer/db/migrate.ts'
import * as census from '@dvt-relayer/db/queries/attendance/census.ts'
import * as nodeKeys from '@dvt-relayer/db/queries/attendance/node-keys.ts'
import * as nodesSeen from '@dvt-relayer/db/queries/attendance/nodes-seen.ts'
import * as nonces from '@dvt-relayer/db/queries/attendance/nonces.ts'
import * as place from '@dvt-relayer/db/queries/attendance/place.ts'
import * as processes from '@dvt-relayer/db/queries/attendance/processes.ts'
import * as clusters from '@dvt-relayer/db/queries/clusters.ts'
import * as contents from '@dvt-relayer/db/queries/doctor/contents.ts'
import * as server from '@dvt-relayer/db/queries/doctor/server.ts'
import * as explain from '@dvt-relayer/db/queries/explain.ts'
import * as managerSignatures from '@dvt-relayer/db/queries/manager-signatures.ts'
import * as announce from '@dvt-relayer/db/queries/messages/announce.ts'
import * as depositBindings from '@dvt-relayer/db/queries/messages/deposit-bindings.ts'
import * as lists from '@dvt-relayer/db/queries/messages/lists.ts'
import * as lockDeposits from '@dvt-relayer/db/queries/messages/lock-deposits.ts'
import * as look from '@dvt-relayer/db/queries/messages/look.ts'
import * as messageKeys from '@dvt-relayer/db/queries/messages/message-keys.ts'
import * as messages from '@dvt-relayer/db/queries/messages/messages.ts'
import * as partialSignatures from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import * as registrations from '@dvt-relayer/db/queries/messages/registrations.ts'
import * as retention from '@dvt-relayer/db/queries/messages/retention.ts'
import * as validators from '@dvt-relayer/db/queries/messages/validators.ts'
import * as oracleFetch from '@dvt-relayer/db/queries/oracle-fetch.ts'
import * as oracleShares from '@dvt-relayer/db/queries/oracle-shares.ts'
import * as registered from '@dvt-relayer/db/queries/registered.ts'
import * as registry from '@dvt-relayer/db/queries/registry.ts'
import * as rotations from '@dvt-relayer/db/queries/rotations.ts'
import { boolean, bytes, bytesList, json, number, oneRow, rows, text } from '@dvt-relayer/db/queries/rows.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import * as ssvClusters from '@dvt-relayer/db/queries/ssv-clusters.ts'
import * as state from '@dvt-relayer/db/queries/state.ts'
import * as statusSnapshot from '@dvt-relayer/db/queries/status/snapshot.ts'
import * as statusSums from '@dvt-relayer/db/queries/status/sums.ts'
import * as statusTallies from '@dvt-relayer/db/queries/status/tallies.ts'
import * as statusValidators from '@dvt-relayer/db/queries/status/validators.ts'
import { tryLock } from '@dvt-relayer/db/try-lock.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TestDatabase } from '../../support/services/postgres.ts'
import { createTestDatabase } from '../../support/services/postgres.ts'

const MIGRATIONS = fileURLToPath(new URL('../../../migrations', import.meta.url))
const QUERIES = fileURLToPath(new URL('../../../libs/db/src/queries', import.meta.url))

const vault = Buffer.alloc(20, 1)
const key = Buffer.alloc(48, 2)
const root = Buffer.alloc(32, 3)
const kept = {
  rotationRequester: 'a',
  owners: [{ vault: Buffer.alloc(20, 1), publicKey: Buffer.alloc(65, 4) }],
  delaySeconds: 1,
}
const owner = { vault, publicKey: Buffer.alloc(65, 4) }
const partial = { messageId: 1, shareIndex: 1, digest: root, sealed: root }
const oracleSet = { cid: 'b', threshold: 1, publicKeys: Buffer.alloc(65), config: {}, blockNumber: 2, announcedAt: 2 }
const manager = { action: 'fund', vault, requester: 'a', registryRoot: root, validators: key, digest: root } as const

type Calls<Module> = {
  [Name in keyof Module as Module[Name] extends (...args: never[]) => unknown ? Name : never]: (db: Sql) => unknown
}

const calls = {
  'attendance/nodes-seen.ts': {
    module: nodesSeen,
    calls: {
      storeNodesSeen: (db) =>
        nodesSeen.storeNodesSeen(
          db,
          [{ token: 'a', shareIndex: 1, isOurs: true, seenSecondsAgo: 1, software: null, version: null }],
          9,
        ),
      cameBy: (db) => db.execute(sql`select ${nodesSeen.cameBy('n')} from nodes_seen n`),
      findNamedNodes: (db) => nodesSeen.findNamedNodes(db, 1, 9),
      findLastSeen: (db) => nodesSeen.findLastSeen(db),
      countPrograms: (db) => nodesSeen.countPrograms(db, 9, 9),
      isGone: (db) => db.execute(sql`select 1 from nodes_seen n where ${nodesSeen.isGone('n')}`),
      pruneNodesSeen: (db) => nodesSeen.pruneNodesSeen(db, 9),
    } satisfies Calls<typeof nodesSeen>,
  },
  'attendance/place.ts': {
    module: place,
    calls: {
      findOwnPlace: (db) => place.findOwnPlace(db),
      lockPlace: (db) => place.lockPlace(db),
      countLeftRunning: (db) => place.countLeftRunning(db, 9),
    } satisfies Calls<typeof place>,
  },
  'attendance/processes.ts': {
    module: processes,
    calls: {
      storeBeat: (db) => processes.storeBeat(db, { id: 'a', role: 'worker', version: 'b' }),
      storeStop: (db) => processes.storeStop(db, 'a'),
      pruneProcesses: (db) => processes.pruneProcesses(db, 9),
      countProcesses: (db) => processes.countProcesses(db, 9),
      countWorkers: (db) => processes.countWorkers(db, 9),
      findNewestWorker: (db) => processes.findNewestWorker(db, 9),
      findProcesses: (db) => processes.findProcesses(db, 9, 9),
    } satisfies Calls<typeof processes>,
  },
  'attendance/census.ts': {
    module: census,
    calls: {
      addShareCounts: (db) => census.addShareCounts(db, [{ shareIndex: 1, verified: 2, rejected: 0 }], 9),
      findShareCounts: (db) => census.findShareCounts(db, 9),
      countWrongShares: (db) => census.countWrongShares(db, 9),
      findNeverSeen: (db) => census.findNeverSeen(db, 9),
      findOldestCollecting: (db) => census.findOldestCollecting(db),
      sumMovedByVault: (db) => census.sumMovedByVault(db, 9, 9),
    } satisfies Calls<typeof census>,
  },
  'attendance/nonces.ts': {
    module: nonces,
    calls: {
      takeNonce: (db) => nonces.takeNonce(db, root, root),
      deleteNonces: (db) => nonces.deleteNonces(db, 0, 9),
    } satisfies Calls<typeof nonces>,
  },
  'clusters.ts': {
    module: clusters,
    calls: {
      findThresholds: (db) => clusters.findThresholds(db),
      lockClusterImport: (db) => clusters.lockClusterImport(db),
      findClustersOf: (db) => clusters.findClustersOf(db, root, [key]),
      insertCluster: (db) => clusters.insertCluster(db, { lockHash: root, name: 'b', threshold: 3 }),
      assignValidators: (db) =>
        clusters.assignValidators(db, 1, [{ publicKey: key, position: 0, withdrawalAddress: vault }]),
      replaceKeyShares: (db) =>
        clusters.replaceKeyShares(db, [1], [{ validatorId: 1, shareIndex: 1, publicKeyShare: key }], 'lock'),
      lockCollecting: (db) => clusters.lockCollecting(db, [1]),
      rejudgePartials: (db) => clusters.rejudgePartials(db, [1, 2], 3),
      findCoverage: (db) => clusters.findCoverage(db, [vault], 9),
      findClusterIds: async (db) => [
        await clusters.findClusterIds(db, [root]),
        await clusters.findClusterIds(db, 'ssv'),
      ],
      findExitsOfLock: (db) => clusters.findExitsOfLock(db, root, [key]),
      findDepositsOfLock: (db) => clusters.findDepositsOfLock(db, root, 1, [key]),
      findOpenExits: (db) => clusters.findOpenExits(db, [key]),
      findKeyShares: (db) => clusters.findKeyShares(db, key),
    } satisfies Calls<typeof clusters>,
  },
  'explain.ts': {
    module: explain,
    calls: {
      findExplained: (db) => explain.findExplained(db, [key], 384),
      findExplainedShares: (db) => explain.findExplainedShares(db, [1], [1]),
      findExplainedNodes: async (db) => [
        await explain.findExplainedNodes(db, [0, 1]),
        await explain.findExplainedNodes(db),
      ],
      findMoment: (db) => explain.findMoment(db),
    } satisfies Calls<typeof explain>,
  },
  'doctor/contents.ts': {
    module: contents,
    calls: {
      countTables: (db) => contents.countTables(db),
      findSealingCheck: (db) => contents.findSealingCheck(db),
      findNewestSealed: (db) => contents.findNewestSealed(db, 9),
      countSealedExits: (db) => contents.countSealedExits(db),
      findVaults: (db) => contents.findVaults(db, 9),
    } satisfies Calls<typeof contents>,
  },
  'doctor/server.ts': {
    module: server,
    calls: {
      lookAtServer: (db) => server.lookAtServer(db),
      countForbidden: (db) => server.countForbidden(db),
      findPlace: (db) => server.findPlace(db),
    } satisfies Calls<typeof server>,
  },
  'manager-signatures.ts': {
    module: managerSignatures,
    calls: {
      lockVaultLimit: (db) => managerSignatures.lockVaultLimit(db, vault),
      sumMoved: (db) => managerSignatures.sumMoved(db, vault, root, 60),
      isRecorded: (db) => managerSignatures.isRecorded(db, root, 'a'),
      deleteManagerSignatures: (db) => managerSignatures.deleteManagerSignatures(db, 0, 9),
      insertManagerSignature: (db) =>
        managerSignatures.insertManagerSignature(db, { ...manager, validatorCount: 1, amountGwei: 2n ** 70n }),
    } satisfies Calls<typeof managerSignatures>,
  },
  'messages/announce.ts': {
    module: announce,
    calls: {
      announceMessages: (db) => announce.announceMessages(db, [1]),
      announceOracleShares: (db) => announce.announceOracleShares(db, 1, [1]),
      findLastRevision: (db) => announce.findLastRevision(db),
      lockMessages: (db) => announce.lockMessages(db, [1]),
    } satisfies Calls<typeof announce>,
  },
  'messages/deposit-bindings.ts': {
    module: depositBindings,
    calls: {
      isHeld: (db) => db.execute(sql`select v.id from validators v where ${depositBindings.isHeld(9)}`),
      bindProven: (db) => depositBindings.bindProven(db, sql`m.id = 2`),
      holdUnproven: (db) => depositBindings.holdUnproven(db, sql`m.id = 2`),
    } satisfies Calls<typeof depositBindings>,
  },
  'messages/lists.ts': {
    module: lists,
    calls: {
      findNewestRevision: (db) => lists.findNewestRevision(db, ['exit']),
      findChangedExits: (db) => lists.findChangedExits(db, { revision: 0, messageId: 0 }, 9),
      findChangedValidators: (db) => lists.findChangedValidators(db, { revision: 0, messageId: 0 }, 9),
    } satisfies Calls<typeof lists>,
  },
  'messages/lock-deposits.ts': {
    module: lockDeposits,
    calls: {
      haveDepositsBeenRead: (db) => lockDeposits.haveDepositsBeenRead(db, root),
      noteDepositsRead: (db) => lockDeposits.noteDepositsRead(db, root),
      storeLockDeposits: (db) =>
        lockDeposits.storeLockDeposits(db, [
          { validatorId: 1, vault, validatorType: '0x01', amountGwei: 1, signature: Buffer.alloc(96, 7) },
        ]),
      bindLockDeposits: (db) => lockDeposits.bindLockDeposits(db, [1]),
      findLockSigned: (db) => lockDeposits.findLockSigned(db, [1]),
      findCompletable: (db) => lockDeposits.findCompletable(db, null, 0, 9),
    } satisfies Calls<typeof lockDeposits>,
  },
  'messages/message-keys.ts': {
    module: messageKeys,
    calls: {
      findMessageKeys: (db) => messageKeys.findMessageKeys(db, [1]),
      findLiveExitKeys: (db) => messageKeys.findLiveExitKeys(db, [1]),
      insertMessageKeys: (db) => messageKeys.insertMessageKeys(db, [{ messageId: 2, sealed: root }]),
      findSealedKeys: (db) => messageKeys.findSealedKeys(db, 0, 9),
      replaceSealedKeys: (db) => messageKeys.replaceSealedKeys(db, [{ messageId: 1, from: root, to: root }]),
      findExitsUnder: (db) => messageKeys.findExitsUnder(db, [root], 0, 9),
      findSealedUnder: (db) => messageKeys.findSealedUnder(db, [root], [1]),
      replaceSignatures: (db) => messageKeys.replaceSignatures(db, [{ messageId: 1, sealed: root }]),
      replacePartials: (db) => messageKeys.replacePartials(db, [partial]),
    } satisfies Calls<typeof messageKeys>,
  },
  'messages/messages.ts': {
    module: messages,
    calls: {
      findExits: (db) => messages.findExits(db, [key]),
      findDeposits: (db) => messages.findDeposits(db, [key]),
      insertExits: (db) =>
        messages.insertExits(db, [
          { validatorId: 2, validatorIndex: 2, epoch: 1, signingRoot: root, threshold: 3, requester: null },
        ]),
      insertDeposits: (db) =>
        messages.insertDeposits(db, [
          {
            validatorId: 2,
            vault,
            amountGwei: 1,
            validatorType: '0x01',
            signingRoot: root,
            threshold: 3,
            requester: 'a',
          },
        ]),
      supersedeMessages: (db) => messages.supersedeMessages(db, [1, 2]),
      reviveMessages: (db) => messages.reviveMessages(db, [{ id: 1, requester: null }]),
      touchMessages: (db) => messages.touchMessages(db, [{ id: 1, requester: 'a' }]),
      expireMessages: (db) => messages.expireMessages(db, 0, 9),
      retireMessages: (db) => messages.retireMessages(db, [1]),
      deleteSuperseded: (db) => messages.deleteSuperseded(db, 0, 9),
      countLiveExits: (db) => messages.countLiveExits(db, null),
    } satisfies Calls<typeof messages>,
  },
  'messages/partial-signatures.ts': {
    module: partialSignatures,
    calls: {
      matchPartials: (db) => partialSignatures.matchPartials(db, 1, [{ publicKey: key, kind: 'exit', digest: root }]),
      countLiveKeys: (db) => partialSignatures.countLiveKeys(db, [key]),
      insertCandidates: (db) => partialSignatures.insertCandidates(db, 1, [partial]),
      trimCandidates: (db) => partialSignatures.trimCandidates(db, [1], { perIndex: 1, indexes: 1 }),
      touchCandidates: (db) => partialSignatures.touchCandidates(db, 1, [partial]),
      findStillTrusted: (db) =>
        partialSignatures.findStillTrusted(db, [{ messageId: 1, shareIndex: 1, publicKeyShare: key }]),
      writeVerdicts: (db) => partialSignatures.writeVerdicts(db, [{ ...partial, isRight: true }]),
      claimFinishable: (db) => partialSignatures.claimFinishable(db, [1], 9),
      claimToFinish: (db) => partialSignatures.claimToFinish(db, [1], 9),
      findFinishable: (db) => partialSignatures.findFinishable(db, [1]),
      claimUnverified: (db) => partialSignatures.claimUnverified(db, 0, 9),
      findCandidates: (db) => partialSignatures.findCandidates(db, [1]),
      findShown: (db) => partialSignatures.findShown(db, [1]),
      findOutcomes: (db) => partialSignatures.findOutcomes(db, [partial]),
      bindDeposits: (db) => partialSignatures.bindDeposits(db, [2]),
      storeHints: (db) => partialSignatures.storeHints(db, 1, [{ validatorId: 2, shares: Buffer.alloc(56) }]),
      trimHints: (db) => partialSignatures.trimHints(db, [1], 1),
      findHints: (db) => partialSignatures.findHints(db, [1]),
      findStarving: (db) => partialSignatures.findStarving(db, 0, 9),
    } satisfies Calls<typeof partialSignatures>,
  },
  'messages/registrations.ts': {
    module: registrations,
    calls: {
      lockAllocation: (db) => registrations.lockAllocation(db),
      findReserved: (db) => registrations.findReserved(db, vault, { limit: 9, excluded: [] }),
      findReservable: (db) =>
        registrations.findReservable(db, vault, {
          limit: 9,
          lifetimeSeconds: 9,
          holdSeconds: 9,
          requester: 'a',
          excluded: [root],
        }),
      findBoundElsewhere: (db) => registrations.findBoundElsewhere(db, [1], vault, 9),
      findMessageIds: (db) => registrations.findMessageIds(db, [1]),
      findExitsInTheWay: (db) =>
        registrations.findExitsInTheWay(db, { vault, validatorIds: [2], requester: 'a', first: 0, count: 9 }),
      reserveValidators: (db) => registrations.reserveValidators(db, [1], vault),
      touchReservations: (db) => registrations.touchReservations(db, [1], vault, 0),
      findSignatures: (db) => registrations.findSignatures(db, [1]),
      findReservation: (db) => registrations.findReservation(db, key),
      releaseValidator: (db) => registrations.releaseValidator(db, 1),
      unlistKeys: (db) => registrations.unlistKeys(db, [key]),
      lockListed: (db) => registrations.lockListed(db, [key]),
      storeListedVaults: (db) => registrations.storeListedVaults(db, [{ publicKey: key, vault }]),
      findListedElsewhere: (db) => registrations.findListedElsewhere(db, [{ publicKey: key, vault: owner.vault }]),
      storeKeyList: (db) => registrations.storeKeyList(db, 3, [key]),
      findLockedKeys: (db) => registrations.findLockedKeys(db, [key]),
      countKeysByVault: (db) => registrations.countKeysByVault(db),
      countKeysLeft: (db) => registrations.countKeysLeft(db, vault),
    } satisfies Calls<typeof registrations>,
  },
  'messages/retention.ts': {
    module: retention,
    calls: {
      findErasable: (db) => retention.findErasable(db, { ...kept, isErasing: true, afterId: 0, limit: 9 }),
      lockErasable: (db) => retention.lockErasable(db, { ...kept, validatorIds: [1] }),
      holdErasures: (db) =>
        retention.holdErasures(db, [
          { validatorId: 1, beaconIndex: 1, oracleSetId: null, withdrawalCredentials: root, depositBlock: 1 },
        ]),
      stopErasures: (db) => retention.stopErasures(db, [1]),
      findFirstCreation: (db) => retention.findFirstCreation(db),
      clearDepositBlocks: (db) => retention.clearDepositBlocks(db),
      storeDepositBlocks: (db) => retention.storeDepositBlocks(db, [{ validatorId: 1, blockNumber: 1 }]),
      eraseExits: (db) => retention.eraseExits(db, [1]),
      findCopiesDue: (db) => retention.findCopiesDue(db, [owner], 0, 9),
      findCopySources: (db) => retention.findCopySources(db, [owner], [1]),
      storeOwnerCopies: (db) =>
        retention.storeOwnerCopies(db, [
          { messageId: 1, vault, ownerPublicKey: owner.publicKey, ciphertext: Buffer.alloc(9) },
        ]),
      findOwnerCopies: (db) => retention.findOwnerCopies(db, vault, 0, 9),
    } satisfies Calls<typeof retention>,
  },
  'status/snapshot.ts': {
    module: statusSnapshot,
    calls: {
      storeSnapshot: (db) => statusSnapshot.storeSnapshot(db, { a: [1] }),
      findSnapshot: (db) => statusSnapshot.findSnapshot(db, 0),
      findStamp: (db) => statusSnapshot.findStamp(db),
    } satisfies Calls<typeof statusSnapshot>,
  },
  'status/sums.ts': {
    module: statusSums,
    calls: {
      findStatusClusters: (db) => statusSums.findStatusClusters(db, 9),
      countTotals: (db) => statusSums.countTotals(db),
      countMessages: (db) => statusSums.countMessages(db),
      findClaimingVaults: (db) => statusSums.findClaimingVaults(db, 9),
      countCollecting: (db) => statusSums.countCollecting(db),
      countWaiting: (db) => statusSums.countWaiting(db),
      findOpenRotations: (db) => statusSums.findOpenRotations(db, 9),
      sumManagerSignatures: (db) => statusSums.sumManagerSignatures(db, 60),
    } satisfies Calls<typeof statusSums>,
  },
  'status/tallies.ts': {
    module: statusTallies,
    calls: {
      foldChanges: (db) => statusTallies.foldChanges(db, 9),
      forgetWrongTallies: (db) => statusTallies.forgetWrongTallies(db),
      noteStrays: (db) => statusTallies.noteStrays(db, 0, 9),
      findNewestChange: (db) => statusTallies.findNewestChange(db),
      areThereChanges: (db) => statusTallies.areThereChanges(db, 9),
      findTalliesRevision: (db) => statusTallies.findTalliesRevision(db),
    } satisfies Calls<typeof statusTallies>,
  },
  'status/validators.ts': {
    module: statusValidators,
    calls: {
      findCollectingPage: (db) =>
        statusValidators.findCollectingPage(
          db,
          { vaults: [vault], shareIndexes: [1] },
          { after: 0, limit: 9, mostLooked: 99 },
        ),
      findByKeyRange: (db) =>
        statusValidators.findByKeyRange(
          db,
          { vaults: undefined, shareIndexes: undefined },
          { from: Buffer.alloc(48), to: Buffer.alloc(48, 255), limit: 9, mostLooked: 99 },
        ),
    } satisfies Calls<typeof statusValidators>,
  },
  'messages/look.ts': {
    module: look,
    calls: {
      findNewestRevision: (db) => look.findNewestRevision(db),
      findChanged: (db) => look.findChanged(db, { revision: 0, id: 0 }, 9),
      findQueued: (db) => look.findQueued(db, 9),
      findQueuedAmong: (db) => look.findQueuedAmong(db, [1]),
      findLiveAfter: (db) => look.findLiveAfter(db, 0, 9),
    } satisfies Calls<typeof look>,
  },
  'messages/validators.ts': {
    module: validators,
    calls: {
      insertValidators: (db) => validators.insertValidators(db, [Buffer.alloc(48, 9)]),
      findValidators: (db) => validators.findValidators(db, [key]),
      lockValidators: (db) => validators.lockValidators(db, [key]),
      lockForgotten: (db) => validators.lockForgotten(db, { unready: 0, ready: 0 }, 9),
      deleteForgotten: (db) => validators.deleteForgotten(db, [2], { unready: 0, ready: 0 }),
    } satisfies Calls<typeof validators>,
  },
  'attendance/node-keys.ts': {
    module: nodeKeys,
    calls: {
      storeNodeKeys: (db) =>
        nodeKeys.storeNodeKeys(db, [
          { lockHash: root, shareIndex: 1, publicKey: Buffer.alloc(33, 2), isHashKnown: true },
        ]),
      findNodeKeys: (db) => nodeKeys.findNodeKeys(db),
      findLockSizes: (db) => nodeKeys.findLockSizes(db),
      findOperatorKeys: (db) => nodeKeys.findOperatorKeys(db),
      storeOperatorKeys: (db) => nodeKeys.storeOperatorKeys(db, [{ operatorId: 7, publicKey: key }]),
      findOutsideLocks: (db) => nodeKeys.findOutsideLocks(db, [key], [root]),
      findOutsideOperator: (db) => nodeKeys.findOutsideOperator(db, [key], 7),
    } satisfies Calls<typeof nodeKeys>,
  },
  'oracle-fetch.ts': {
    module: oracleFetch,
    calls: {
      findOracleSetsAfter: (db) => oracleFetch.findOracleSetsAfter(db, 0),
      findExitShares: (db) =>
        oracleFetch.findExitShares(
          db,
          [{ oracleSetId: 1, position: 1 }],
          { vault, publicKey: key },
          { revision: 0, messageId: 0, oracleSetId: 0 },
          9,
        ),
      findShareSet: (db) => oracleFetch.findShareSet(db, key),
      findExitsToShowAgain: (db) => oracleFetch.findExitsToShowAgain(db, [1]),
      findRenewedToShowAgain: (db) => oracleFetch.findRenewedToShowAgain(db, vault),
      restampOracleShares: (db) => oracleFetch.restampOracleShares(db, [1]),
    } satisfies Calls<typeof oracleFetch>,
  },
  'oracle-shares.ts': {
    module: oracleShares,
    calls: {
      findCurrentOracleSet: (db) => oracleShares.findCurrentOracleSet(db),
      findCurrentOracleSetId: (db) => oracleShares.findCurrentOracleSetId(db),
      adoptOracleSet: (db) => oracleShares.adoptOracleSet(db, oracleSet),
      findMessagesToFinish: (db) => oracleShares.findMessagesToFinish(db, [1], 1),
      completeMessages: (db) => oracleShares.completeMessages(db, [partial]),
      releaseMessages: (db) => oracleShares.releaseMessages(db, [1]),
      giveBackMessages: (db) => oracleShares.giveBackMessages(db, [1]),
      countFailedAttempts: (db) => oracleShares.countFailedAttempts(db, [1]),
      insertOracleShares: (db) =>
        oracleShares.insertOracleShares(db, 1, [
          { messageId: 2, publicKeyShares: key, ciphertexts: Buffer.alloc(193), receipt: root },
        ]),
      findOracleShares: (db) => oracleShares.findOracleShares(db, [1]),
      deleteOldShares: (db) => oracleShares.deleteOldShares(db, 0, 9),
    } satisfies Calls<typeof oracleShares>,
  },
  'registered.ts': {
    module: registered,
    calls: {
      findUnregistered: (db) => registered.findUnregistered(db, 0, 9),
      findStaying: (db) => registered.findStaying(db, 0, 9),
      markRegistered: (db) =>
        registered.markRegistered(db, [{ validatorId: 1, beaconIndex: 1, vault: undefined, hasLeft: false }]),
      markExited: (db) => registered.markExited(db, [1]),
      findNoted: (db) => registered.findNoted(db, key),
      forgetRegistration: (db) => registered.forgetRegistration(db, 9),
      forgetExited: (db) => registered.forgetExited(db, 9),
      sumByVault: (db) => registered.sumByVault(db, 384),
      countByVault: (db) => registered.countByVault(db, { vaults: null, secondsPerEpoch: 384 }),
      findOutdated: (db) => registered.findOutdated(db, vault, 0, 9),
      countOutdated: (db) => registered.countOutdated(db),
    } satisfies Calls<typeof registered>,
  },
  'registry.ts': {
    module: registry,
    calls: {
      insertCheckpoint: (db) => registry.insertCheckpoint(db, 'b', {}),
      lockCheckpoint: (db) => registry.lockCheckpoint(db, 'a'),
      insertRegistered: (db) => registry.insertRegistered(db, [{ publicKey: Buffer.alloc(48, 9), blockNumber: 1 }]),
      clearRegistered: (db) => registry.clearRegistered(db),
      findRegistered: (db) => registry.findRegistered(db, [key]),
      findRegisteredWith: (db) => registry.findRegisteredWith(db, 'a', [key]),
    } satisfies Calls<typeof registry>,
  },
  'rotations.ts': {
    module: rotations,
    calls: {
      findRotationVaults: (db) => rotations.findRotationVaults(db),
      findUnsettledVaults: (db) => rotations.findUnsettledVaults(db),
      findRotationExits: (db) =>
        rotations.findRotationExits(db, [{ publicKey: key, validatorIndex: 1 }], { epoch: 1, oracleSetId: 1 }),
      findOpenRotation: (db) => rotations.findOpenRotation(db, vault),
      insertRotation: (db) =>
        rotations.insertRotation(db, { vault: Buffer.alloc(20, 9), oracleSetId: 1, nonce: 1, ipfsHash: null }, [1]),
      findRotationContent: (db) => rotations.findRotationContent(db, 1),
      approveRotation: (db) => rotations.approveRotation(db, 1, 'b'),
      storeTransaction: (db) => rotations.storeTransaction(db, 1, null, { hash: root, raw: root, deadline: 1 }),
      findTransactions: (db) => rotations.findTransactions(db, 9),
      voidRotation: (db) => rotations.voidRotation(db, 1),
      completeRotations: (db) => rotations.completeRotations(db, { vault, from: 0, to: 9, ipfsHashes: ['b'] }),
      voidOvertaken: (db) => rotations.voidOvertaken(db, vault, 9),
      hasClaimedExits: (db) => rotations.hasClaimedExits(db, 'a'),
      findOldestOpen: (db) => rotations.findOldestOpen(db),
      markOutdated: (db) => rotations.markOutdated(db, [1], 1),
      findNewestRotation: (db) => rotations.findNewestRotation(db, vault),
      findWantedExits: (db) => rotations.findWantedExits(db, vault, 'a'),
    } satisfies Calls<typeof rotations>,
  },
  'ssv-clusters.ts': {
    module: ssvClusters,
    calls: {
      findCovers: (db) => ssvClusters.findCovers(db, [key]),
      findSsvMembers: (db) => ssvClusters.findSsvMembers(db),
      insertSsvCluster: (db) => ssvClusters.insertSsvCluster(db, { name: 'b', threshold: 3 }),
      leaveClusters: (db) => ssvClusters.leaveClusters(db, [1]),
    } satisfies Calls<typeof ssvClusters>,
  },
  'state.ts': {
    module: state,
    calls: {
      findCheckpoint: (db) => state.findCheckpoint(db, 'a'),
      deleteCheckpoint: (db) => state.deleteCheckpoint(db, 'nothing'),
      storeCheckpoint: (db) => state.storeCheckpoint(db, 'a', { b: 1 }),
      ensureCheckpoint: (db) => state.ensureCheckpoint(db, 'b', { c: 1 }),
      findNewestMessages: (db) => state.findNewestMessages(db),
      ensureSealingCheck: (db) => state.ensureSealingCheck(db, root),
      replaceSealingCheck: (db) => state.replaceSealingCheck(db, root),
      findSealedSignatures: (db) => state.findSealedSignatures(db, 0, 9),
      replaceSealedSignature: (db) => state.replaceSealedSignature(db, 1, root, root),
      findSealedPartials: (db) => state.findSealedPartials(db, 0, 9),
      replaceSealedPartial: (db) => state.replaceSealedPartial(db, { messageId: 1, shareIndex: 1, from: root }, root),
      voidSealed: (db) => state.voidSealed(db),
    } satisfies Calls<typeof state>,
  },
} as const satisfies Record<string, { module: object; calls: Record<string, (db: Sql) => unknown> }>

let database: TestDatabase
let db: Database

beforeAll(async () => {
  database = await createTestDatabase()
  db = await connectDatabase({ url: database.url, logger: silentLogger })
  await migrateDatabase(db, MIGRATIONS)
  await db.execute(sql`insert into clusters (name, threshold, source) values ('a', 3, 'ssv')`)
  await db.execute(sql`insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at, is_current)
    values ('a', 1, ${Buffer.alloc(65)}, '{}', 1, now(), true)`)
  await db.execute(
    sql`insert into validators (public_key, cluster_id, place) values (${key}, 1, 0), (${Buffer.alloc(48, 7)}, 1, 1)`,
  )
  await db.execute(sql`
    insert into messages (validator_id, kind, validator_index, epoch, vault, amount_gwei, validator_type, signing_root, threshold, state, signature)
    values (1, 'exit', 1, 1, null, null, null, ${root}, 3, 'ready', ${root}),
           (1, 'deposit', null, null, ${vault}, 1, '0x01', ${root}, 3, 'collecting', null)`)
  await db.execute(sql`insert into message_keys (message_id, sealed) values (1, ${root})`)
  await db.execute(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
    values (1, 1, ${root}, ${root}, 'unverified'), (2, 1, ${root}, ${root}, 'unverified')`)
  await db.execute(sql`insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
    values (1, 1, ${key}, ${Buffer.alloc(193)}, ${root}, 1)`)
  await db.execute(sql`insert into rotations (vault, oracle_set_id, nonce, state) values (${vault}, 1, 1, 'open')`)
  await db.execute(sql`insert into checkpoints (name, value) values ('a', '{}')`)
})

afterAll(async () => {
  await db[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

/** Runs a query in a transaction that leaves nothing, and says how much raw SQL it ran that returned columns. */
async function rawResultsOf(call: (db: Sql) => unknown): Promise<number> {
  let count = 0
  const undo = new Error('undo')
  await db
    .transaction(async (tx) => {
      const counting = Object.assign(Object.create(tx) as typeof tx, {
        execute: async (query: Parameters<typeof tx.execute>[0]) => {
          const result = await tx.execute(query)
          if (result.fields.length > 0) count++
          return result
        },
      })
      await call(counting as unknown as Sql)
      throw undo
    })
    .catch((error: unknown) => {
      if (error !== undo) throw error
    })
  return count
}

describe('the columns of every query', () => {
  test('no file of queries is left out', () => {
    const files = readdirSync(QUERIES, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
    expect(Object.keys(calls).sort()).toEqual(files.filter((name) => !['rows.ts', 'sql.ts'].includes(name)).sort())
  })

  describe.each(Object.entries(calls))('%s', (_file, { module, calls: own }) => {
    test('no query is left out', () => {
      const functions = Object.entries(module).filter(([, value]) => typeof value === 'function')
      expect(Object.keys(own).sort()).toEqual(functions.map(([name]) => name).sort())
    })

    test.each(Object.entries(own) as [string, (db: Sql) => unknown][])('%s', async (name, call) => {
      const source = String((module as Record<string, unknown>)[name])
      const said = source.match(/\b(?:rows|firstRow|oneRow)\)?\(/g)?.length ?? 0
      expect(await rawResultsOf(call)).toBeGreaterThanOrEqual(said)
    })
  })

  test('of a lock, ours and of somebody else', async () => {
    const locked = await tryLock(db, 'a', () => tryLock(db, 'a', async () => undefined))
    expect(locked).toMatchObject({ isOurs: true, value: { isOurs: false, holder: expect.any(String) } })
  })
})

test.each([['{"a": 1}'], ['1'], ['null'], [{ a: ['1', '{}', null] }], [1], [[]]])(
  'a checkpoint %j is read as it was stored',
  async (value) => {
    await state.storeCheckpoint(db, 'b', value)
    expect(await state.findCheckpoint(db, 'b')).toEqual(value)
    expect(await db.transaction((tx) => registry.lockCheckpoint(tx, 'b'))).toEqual(value)
    expect(await registry.findRegisteredWith(db, 'b', [])).toEqual({ value, publicKeys: [] })
  },
)

describe('rows', () => {
  test('are named in camelCase, and are what their columns say', async () => {
    const columns = { shareIndex: number, isIn: boolean, sealed: bytes, all: bytesList, value: json, at1: text }
    const query = sql`select 2::bigint as share_index, true as is_in, '\\x01'::bytea as sealed, array['\\x02'::bytea] as all,
      '{"a": 1}'::jsonb as value, 'b' as at_1`
    expect(await rows(db, columns, query)).toEqual([
      { shareIndex: 2, isIn: true, sealed: Buffer.of(1), all: [Buffer.of(2)], value: { a: 1 }, at1: 'b' },
    ])
  })

  test('are missed where there is always one', async () => {
    expect(await oneRow(db, { a: number }, sql`select 1 as a`)).toEqual({ a: 1 })
    await expect(oneRow(db, { a: number }, sql`select 1 as a where false`)).rejects.toThrow('no row')
  })

  test.each([
    ['one that is not there', { a: number, b: number }, sql`select 1 as a where false`],
    ['one that nobody speaks of', { a: number }, sql`select 1 as a, 2 as b where false`],
    ['one by another name', { shareIndex: number }, sql`select 1 as index where false`],
    ['one that is there twice', { a: number }, sql`select 1 as a, 2 as a where false`],
    ['one of another type', { a: number }, sql`select 'b' as a where false`],
    ['a numeric, which arrives as text', { a: number }, sql`select sum(1::bigint) as a`],
  ])('of a query that returns %s are refused, also where there are none', async (_case, columns, query) => {
    await expect(rows(db, columns, query)).rejects.toMatchObject({ code: 'DATABASE_QUERY_INVALID' })
  })
})
