// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

interface IDepositContract {
    function deposit(
        bytes calldata pubkey,
        bytes calldata withdrawal_credentials,
        bytes calldata signature,
        bytes32 deposit_data_root
    ) external payable;

    function get_deposit_root() external view returns (bytes32);
}

interface IKeeper {
    function isCollateralized(address vault) external view returns (bool);

    function isHarvestRequired(address vault) external view returns (bool);

    function harvest() external;

    function approveValidators(
        bytes32 validatorsRegistryRoot,
        bytes calldata validators,
        string calldata exitSignaturesIpfsHash,
        uint256 deadline,
        bytes calldata oraclesSignatures
    ) external;
}

interface IConsolidationsChecker {
    function verifySignatures(address vault, bytes calldata validators, bytes calldata signatures) external view;
}

interface IWallet {
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4);
}

/// What a vault checks of the validators manager's signature and does with the validators it covers: for tests only.
///
/// Anybody may call; the signature alone decides. It is over (root, validators): for a registration the deposit contract's
/// current root, so any deposit in between makes it worthless; for all else the nonce, so it counts once. A vault with a Keeper
/// registers nothing that the oracles have not approved as well, and neither registers nor funds while it has rewards to harvest.
/// Without a signature the manager itself may call, and then nothing is counted.
contract Vault {
    event ValidatorRegistered(bytes publicKey, uint256 amount);
    event ValidatorFunded(bytes publicKey, uint256 amount);
    event ValidatorWithdrawalSubmitted(bytes publicKey, uint256 amount);
    event ValidatorConsolidationSubmitted(bytes sourcePublicKey, bytes targetPublicKey);

    error InvalidRegistryRoot();
    error ApprovalMissing();
    error NotAdmin();
    error NotHarvested();
    error NotCollateralized();
    error InvalidSignature();
    error InvalidLength();
    error InvalidAmount();
    error InvalidFunding();
    error UnknownValidator();
    error NotEnoughEther();

    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant VALIDATORS_TYPE =
        keccak256("VaultValidators(bytes32 validatorsRegistryRoot,bytes validators)");
    /// Half the order of secp256k1: of the two valid values of s only the lower one is taken.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// pubkey 48 ++ signature 96 ++ deposit data root 32, and for type 0x02 the amount 8.
    uint256 private constant LENGTH_01 = 176;
    uint256 private constant LENGTH_02 = 184;

    /// By keccak256 of the key: those registered here as type 0x02, and those that the oracles have approved as the end of a
    /// consolidation. These alone can be funded, and take others in. The first slot of the storage, which tests write to.
    mapping(bytes32 => bool) public v2Validators;
    address public validatorsManager;
    uint256 public validatorsManagerNonce;
    /// Whether anything was registered here; asked of the Keeper where there is one.
    bool private hasRegistered;

    IDepositContract public immutable validatorsRegistry;
    address public immutable admin = msg.sender;
    /// Zero: registrations need no oracles.
    IKeeper public immutable keeper;
    /// Zero: no consolidation can be approved.
    IConsolidationsChecker public immutable checker;

    modifier onlyCollateralized() {
        bool isCollateralized = address(keeper) == address(0) ? hasRegistered : keeper.isCollateralized(address(this));
        require(isCollateralized, NotCollateralized());
        _;
    }

    constructor(IDepositContract depositContract, IKeeper approver, IConsolidationsChecker consolidations) {
        validatorsRegistry = depositContract;
        keeper = approver;
        checker = consolidations;
    }

    receive() external payable {}

    function setValidatorsManager(address manager) external {
        require(msg.sender == admin, NotAdmin());
        validatorsManager = manager;
    }

    /// Takes what the Keeper last announced; the real one proves it.
    function updateState() external {
        keeper.harvest();
    }

    function registerValidators(bytes32 validatorsRegistryRoot, bytes calldata validators, bytes calldata signature)
        external
    {
        require(address(keeper) == address(0), ApprovalMissing());
        register(validatorsRegistryRoot, validators, signature);
    }

    /// The same with what the oracles have signed.
    function registerApprovedValidators(
        bytes32 validatorsRegistryRoot,
        bytes calldata validators,
        bytes calldata signature,
        string calldata exitSignaturesIpfsHash,
        uint256 deadline,
        bytes calldata oraclesSignatures
    ) external {
        keeper.approveValidators(
            validatorsRegistryRoot, validators, exitSignaturesIpfsHash, deadline, oraclesSignatures
        );
        register(validatorsRegistryRoot, validators, signature);
    }

    function register(bytes32 validatorsRegistryRoot, bytes calldata validators, bytes calldata signature) private {
        require(validatorsRegistryRoot == validatorsRegistry.get_deposit_root(), InvalidRegistryRoot());
        checkHarvested();
        useSignature(validatorsRegistryRoot, validators, signature);
        // The length alone tells the types apart, so it must be a multiple of one of them only; 0 is of both.
        bool is01 = validators.length % LENGTH_01 == 0;
        require(is01 != (validators.length % LENGTH_02 == 0), InvalidLength());
        uint256 length = is01 ? LENGTH_01 : LENGTH_02;
        for (uint256 start = 0; start < validators.length; start += length) {
            bytes calldata item = validators[start:start + length];
            uint256 amount = is01 ? 32 ether : amountAt(item, LENGTH_01);
            require(amount >= 32 ether && amount <= 2048 ether, InvalidAmount());
            if (!is01) v2Validators[keccak256(item[:48])] = true;
            depositFor(item, is01 ? bytes1(0x01) : bytes1(0x02), amount);
            emit ValidatorRegistered(item[:48], amount);
        }
        hasRegistered = true;
    }

    function fundValidators(bytes calldata validators, bytes calldata signature) external {
        checkHarvested();
        useSignature(bytes32(validatorsManagerNonce), validators, signature);
        bool is02 = validators.length % LENGTH_02 == 0 && validators.length % LENGTH_01 != 0;
        require(is02, InvalidLength());
        for (uint256 start = 0; start < validators.length; start += LENGTH_02) {
            bytes calldata item = validators[start:start + LENGTH_02];
            require(v2Validators[keccak256(item[:48])], UnknownValidator());
            // A top-up needs no signature of the validator, so there must be none.
            require(keccak256(item[48:144]) == keccak256(new bytes(96)), InvalidFunding());
            uint256 amount = amountAt(item, LENGTH_01);
            depositFor(item, 0x02, amount);
            emit ValidatorFunded(item[:48], amount);
        }
    }

    /// Amount 0 is a full exit.
    function withdrawValidators(bytes calldata validators, bytes calldata signature) external onlyCollateralized {
        useSignature(bytes32(validatorsManagerNonce), validators, signature);
        require(validators.length > 0 && validators.length % 56 == 0, InvalidLength());
        for (uint256 start = 0; start < validators.length; start += 56)
            emit ValidatorWithdrawalSubmitted(validators[start:start + 48], amountAt(validators[start:start + 56], 48));
    }

    /// Into a validator that the vault does not have as one of type 0x02, a switch of one itself included, only as the oracles say.
    function consolidateValidators(
        bytes calldata validators,
        bytes calldata signature,
        bytes calldata oracleSignatures
    ) external onlyCollateralized {
        useSignature(bytes32(validatorsManagerNonce), validators, signature);
        bool isApproved = oracleSignatures.length > 0;
        if (isApproved) checker.verifySignatures(address(this), validators, oracleSignatures);
        require(validators.length % 96 == 0, InvalidLength());
        for (uint256 start = 0; start < validators.length; start += 96) {
            bytes calldata target = validators[start + 48:start + 96];
            if (isApproved) v2Validators[keccak256(target)] = true;
            require(v2Validators[keccak256(target)], UnknownValidator());
            emit ValidatorConsolidationSubmitted(validators[start:start + 48], target);
        }
    }

    function checkHarvested() private view {
        require(address(keeper) == address(0) || !keeper.isHarvestRequired(address(this)), NotHarvested());
    }

    /// Checks that the manager calls, or its EIP-712 signature, and counts that.
    function useSignature(bytes32 root, bytes calldata validators, bytes calldata signature) private {
        require(validatorsManager != address(0) && validators.length > 0, InvalidSignature());
        if (signature.length == 0) {
            require(msg.sender == validatorsManager, InvalidSignature());
            return;
        }
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPE, keccak256("VaultValidators"), keccak256("1"), block.chainid, address(this))
        );
        bytes32 content = keccak256(abi.encode(VALIDATORS_TYPE, root, keccak256(validators)));
        bytes32 digest = keccak256(bytes.concat(hex"1901", domain, content));
        require(isOfManager(digest, signature), InvalidSignature());
        validatorsManagerNonce++;
    }

    /// Where there is code at the manager's address, that code alone decides (ERC-1271), also of an account that has delegated.
    function isOfManager(bytes32 digest, bytes calldata signature) private view returns (bool) {
        if (validatorsManager.code.length > 0) {
            (bool ok, bytes memory answer) =
                validatorsManager.staticcall(abi.encodeCall(IWallet.isValidSignature, (digest, signature)));
            return ok && answer.length >= 32 && bytes32(answer) == bytes32(IWallet.isValidSignature.selector);
        }
        if (signature.length != 65) return false;
        bytes32 s = bytes32(signature[32:64]);
        // ecrecover gives 0 for a v other than 27 and 28, which is nobody's.
        address signer = ecrecover(digest, uint8(signature[64]), bytes32(signature[:32]), s);
        return uint256(s) <= HALF_ORDER && signer == validatorsManager;
    }

    function depositFor(bytes calldata item, bytes1 credentialsType, uint256 amount) private {
        require(address(this).balance >= amount, NotEnoughEther());
        bytes memory credentials = bytes.concat(credentialsType, bytes11(0), bytes20(address(this)));
        validatorsRegistry.deposit{value: amount}(item[:48], credentials, item[48:144], bytes32(item[144:176]));
    }

    /// The big-endian uint64 of Gwei at this place, in Wei.
    function amountAt(bytes calldata item, uint256 start) private pure returns (uint256) {
        return uint256(uint64(bytes8(item[start:start + 8]))) * 1 gwei;
    }
}
