"""What a report cites."""

REFERENCES = {
    "source": "Zhang Y, Kramer K, Mazurowski MA. How to select slices for annotation "
    "to train best-performing deep learning segmentation models for cross-sectional "
    "medical images? MIDL 2025. arXiv:2412.08081.",
    "unet": "Ronneberger O, Fischer P, Brox T. U-Net: convolutional networks for "
    "biomedical image segmentation. MICCAI 2015.",
    "nnunet": "Isensee F, et al. nnU-Net: a self-configuring method for deep "
    "learning-based biomedical image segmentation. Nat Methods 18:203-211 (2021).",
    "adamw": "Loshchilov I, Hutter F. Decoupled weight decay regularization. ICLR "
    "2019.",
    "nesterov": "Sutskever I, et al. On the importance of initialization and momentum "
    "in deep learning. ICML 2013.",
    "nsd": "Nikolov S, et al. Deep learning to achieve clinically applicable "
    "segmentation of head and neck anatomy for radiotherapy. arXiv:1809.04430 (2018).",
    "satterthwaite": "Satterthwaite FE. An approximate distribution of estimates of "
    "variance components. Biometrics Bulletin 2:110-114 (1946).",
    "tost": "Schuirmann DJ. A comparison of the two one-sided tests procedure and the "
    "power approach for assessing the equivalence of average bioavailability. "
    "J Pharmacokinet Biopharm 15:657-680 (1987).",
    "holm": "Holm S. A simple sequentially rejective multiple test procedure. Scand J "
    "Stat 6:65-70 (1979).",
    "hsu": "Hsu JC. Constrained simultaneous confidence intervals for multiple "
    "comparisons with the best. Ann Stat 12:1136-1144 (1984).",
    "hartung": "Hartung J, Knapp G. A refined method for the meta-analysis of "
    "controlled clinical trials with binary outcome. Stat Med 20:3875-3889 (2001).",
    "jax": "Bradbury J, et al. JAX: composable transformations of Python+NumPy "
    "programs (2018).",
    "madow": "Madow WG, Madow LH. On the theory of systematic sampling, I. Ann Math "
    "Stat 15:1-24 (1944).",
    "cochran": "Cochran WG. Sampling techniques, 3rd edition. Wiley 1977.",
    "core_set": "Sener O, Savarese S. Active learning for convolutional neural "
    "networks: a core-set approach. ICLR 2018.",
    "ra": "Zheng H, et al. Biomedical image segmentation via representative "
    "annotation. AAAI 2019.",
    "alps": "Yuan M, Lin HT, Boyd-Graber J. Cold-start active learning through "
    "self-supervised language modeling. EMNLP 2020.",
    "park": "Park HS, Jun CH. A simple and fast algorithm for K-medoids clustering. "
    "Expert Syst Appl 36:3336-3341 (2009).",
    "typiclust": "Hacohen G, Dekel A, Weinshall D. Active learning on a budget: "
    "opposite strategies suit high and low budgets. ICML 2022.",
    "probcover": "Yehuda O, et al. Active learning through a covering lens. NeurIPS "
    "2022.",
    "max_herding": "Bae W, Noh J, Sutherland DJ. Generalized coverage for more robust "
    "low-budget active learning. ECCV 2024.",
    "wei": "Wei K, Iyer R, Bilmes J. Submodularity in data subset selection and active "
    "learning. ICML 2015.",
    "rep_div": "Shen H, et al. Deep active learning for breast cancer segmentation on "
    "immunohistochemistry images. MICCAI 2020.",
    "nnactive": "Lueth CT, et al. nnActive: a framework for evaluation of active "
    "learning in 3D biomedical segmentation. arXiv:2511.19183 (2025).",
}
"""Citation by key; texts name keys in braces."""

_STRATEGIES = {
    "fixed_interval": "madow",
    "fixed_interval_aligned": "madow",
    "stratified": "cochran",
    "k_center": "core_set",
    "representative": "ra",
    "k_means": "alps",
    "k_medoids": "park",
    "typiclust": "typiclust",
    "probcover": "probcover",
    "max_herding": "max_herding",
    "facility_location": "wei",
    "rep_div": "rep_div",
    "foreground_random_33": "nnactive",
    "foreground_random_66": "nnactive",
}


def of_strategy(name: str) -> str:
    """Returns the key of a strategy's paper in braces, empty where there is none.

    >>> of_strategy("k_center"), of_strategy("mine")
    (' {core_set}', '')
    """
    key = _STRATEGIES.get(name)
    return f" {{{key}}}" if key else ""
