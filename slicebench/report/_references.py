"""What a report cites."""

REFERENCES = {
    "source": "Zhang Y, Kramer K, Mazurowski MA. How to select slices for annotation "
    "to train best-performing deep learning segmentation models for cross-sectional "
    "medical images? Medical Imaging with Deep Learning (MIDL 2025). PMLR "
    "301:1811-1831 (2026). arXiv:2412.08081.",
    "unet": "Ronneberger O, Fischer P, Brox T. U-Net: convolutional networks for "
    "biomedical image segmentation. MICCAI 2015, pp. 234-241. arXiv:1505.04597.",
    "nnunet": "Isensee F, Jaeger PF, Kohl SAA, Petersen J, Maier-Hein KH. nnU-Net: a "
    "self-configuring method for deep learning-based biomedical image segmentation. "
    "Nat Methods 18:203-211 (2021). doi:10.1038/s41592-020-01008-z.",
    "adamw": "Loshchilov I, Hutter F. Decoupled weight decay regularization. ICLR "
    "2019. arXiv:1711.05101.",
    "nesterov": "Sutskever I, Martens J, Dahl G, Hinton G. On the importance of "
    "initialization and momentum in deep learning. ICML 2013. PMLR 28(3):1139-1147.",
    "nsd": "Nikolov S, Blackwell S, Zverovitch A, et al. Deep learning to achieve "
    "clinically applicable segmentation of head and neck anatomy for radiotherapy. "
    "arXiv:1809.04430 (2018).",
    "satterthwaite": "Satterthwaite FE. An approximate distribution of estimates of "
    "variance components. Biometrics Bulletin 2:110-114 (1946).",
    "tost": "Schuirmann DJ. A comparison of the two one-sided tests procedure and the "
    "power approach for assessing the equivalence of average bioavailability. "
    "J Pharmacokinet Biopharm 15:657-680 (1987). doi:10.1007/BF01068419.",
    "holm": "Holm S. A simple sequentially rejective multiple test procedure. Scand J "
    "Stat 6:65-70 (1979).",
    "hsu": "Hsu JC. Constrained simultaneous confidence intervals for multiple "
    "comparisons with the best. Ann Stat 12:1136-1144 (1984). "
    "doi:10.1214/aos/1176346732.",
    "paule": "Paule RC, Mandel J. Consensus values and weighting factors. J Res Natl "
    "Bur Stand 87:377-385 (1982). doi:10.6028/jres.087.022.",
    "hartung": "Hartung J, Knapp G. On tests of the overall treatment effect in "
    "meta-analysis with normally distributed responses. Stat Med 20:1771-1782 (2001). "
    "doi:10.1002/sim.791.",
    "lan_demets": "Lan KKG, DeMets DL. Discrete sequential boundaries for clinical "
    "trials. Biometrika 70:659-663 (1983). doi:10.1093/biomet/70.3.659.",
    "jax": "Bradbury J, Frostig R, Hawkins P, et al. JAX: composable transformations "
    "of Python+NumPy programs (2018).",
    "raya": "Raya SP, Udupa JK. Shape-based interpolation of multidimensional objects. "
    "IEEE Trans Med Imaging 9:32-42 (1990).",
    "albu": "Albu AB, Beugeling T, Laurendeau D. A morphology-based approach for "
    "interslice interpolation of anatomical slices from volumetric images. IEEE Trans "
    "Biomed Eng 55:2022-2038 (2008). doi:10.1109/TBME.2008.921158.",
    "thirion": "Thirion JP. Image matching as a diffusion process: an analogy with "
    "Maxwell's demons. Med Image Anal 2:243-260 (1998).",
    "madow": "Madow WG, Madow LH. On the theory of systematic sampling, I. Ann Math "
    "Stat 15:1-24 (1944).",
    "cochran": "Cochran WG. Sampling techniques, 3rd edition. Wiley 1977.",
    "core_set": "Sener O, Savarese S. Active learning for convolutional neural "
    "networks: a core-set approach. ICLR 2018.",
    "ra": "Zheng H, Yang L, Chen J, et al. Biomedical image segmentation via "
    "representative annotation. AAAI 2019. Proc AAAI Conf Artif Intell 33:5901-5908.",
    "alps": "Yuan M, Lin HT, Boyd-Graber J. Cold-start active learning through "
    "self-supervised language modeling. EMNLP 2020, pp. 7935-7948. "
    "doi:10.18653/v1/2020.emnlp-main.637.",
    "park": "Park HS, Jun CH. A simple and fast algorithm for K-medoids clustering. "
    "Expert Syst Appl 36:3336-3341 (2009). doi:10.1016/j.eswa.2008.01.039.",
    "typiclust": "Hacohen G, Dekel A, Weinshall D. Active learning on a budget: "
    "opposite strategies suit high and low budgets. ICML 2022, pp. 8175-8195. "
    "arXiv:2202.02794.",
    "probcover": "Yehuda O, Dekel A, Hacohen G, Weinshall D. Active learning through a "
    "covering lens. NeurIPS 2022. Adv Neural Inf Process Syst 35:22354-22367. "
    "arXiv:2205.11320.",
    "max_herding": "Bae W, Noh J, Sutherland DJ. Generalized coverage for more robust "
    "low-budget active learning. ECCV 2024. arXiv:2407.12212.",
    "wei": "Wei K, Iyer R, Bilmes J. Submodularity in data subset selection and active "
    "learning. ICML 2015. PMLR 37:1954-1963.",
    "rep_div": "Shen H, et al. Deep active learning for breast cancer segmentation on "
    "immunohistochemistry images. MICCAI 2020. doi:10.1007/978-3-030-59722-1_49.",
    "nnactive": "L\u00fcth CT, Traub J, Kahl KC, et al. nnActive: a framework for "
    "evaluation of active learning in 3D biomedical segmentation. arXiv:2511.19183 "
    "(2025).",
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

_INTERPOLATIONS = {
    "signed_distance": "raya",
    "morphological": "albu",
    "morphological_itk": "albu",
    "image_guided": "thirion",
}


def of_strategy(name: str) -> str:
    """Returns the key of a strategy's paper in braces, empty where there is none.

    >>> of_strategy("k_center"), of_strategy("mine")
    (' {core_set}', '')
    """
    key = _STRATEGIES.get(name)
    return f" {{{key}}}" if key else ""


def of_interpolation(name: str) -> str:
    """Returns the key of an interpolation's paper in braces, likewise.

    >>> of_interpolation("signed_distance"), of_interpolation("nearest")
    (' {raya}', '')
    """
    key = _INTERPOLATIONS.get(name)
    return f" {{{key}}}" if key else ""
